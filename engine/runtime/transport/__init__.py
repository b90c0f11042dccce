"""The channel: how processes talk.

`wire` are frames and `bodies` the records in them: `messages`, and `clip_messages` for clips.
`sockets` are the supervisor's, `link` and `remote_link` the line of a child or a guest to it.
"""
