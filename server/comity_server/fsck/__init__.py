"""Looking through a stored data folder: all that is in it, derived once more from the texts that people signed.

    reading       one look at the file, read-only, at one moment
    log, tree     each log: its entries, its tiles, its head, and what was signed of it outside the store
    connections   each connection: its agreement, its chains, its events, and the state that they add up to
    places        whose each entry is, and that it says of its act what an entry says
    consents      what the status lists say of each consent
    beside        businesses, offers, halves, news, and rows that belong to nothing
    run           all of it in order

Nothing that the server worked out is believed: not its states, not its tiles, not its columns. What fits is not told;
every fault is, with its place, and none of them ends the looking.
"""
