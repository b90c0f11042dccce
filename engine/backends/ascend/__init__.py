"""Ascend NPUs: the runtimes aclruntime (`acl`) and pyACL (`pyacl`).

A runtime lives in a process of its own (`process`), which `remote` starts and feeds through shared
memory (`slots`); `printed` keeps what it says, `npus` looks at what a machine has, `common` is what
both runtimes share.
"""
