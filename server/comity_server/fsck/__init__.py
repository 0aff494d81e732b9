"""Checks a data folder: derives everything in it again from the texts that people signed.

    checker        all checks, in order
    snapshot       a read-only snapshot of the store
    log, tree      each log: entries, tiles, head, and the checkpoints in its head file
    connections    each connection: agreement, stored state, sides
    replay         the acts and events of one connection, folded again
    entry_owners   the text that each log entry belongs to
    status_lists   the status list entry of each grant
    server_keys    the statements about the server's own keys
    other_records  businesses, offers, half-signed agreements, news, and rows that belong to nothing
    documents      opens signed texts again
    findings       the faults, with their places

Nothing that the server derived is trusted: not its states, its tiles or its columns. A fault does not end the check.
"""
