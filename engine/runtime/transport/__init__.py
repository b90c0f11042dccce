"""How processes talk: frames on the wire, sockets, and a child's line to its supervisor."""
