"""Single changes to the project's code, and whether anything notices them.

    changes     which single changes a module's text allows
    parts       what its parts say, and could say

Of the protocol's rules, noticed by the vectors of spec/vectors:

    noticing    whether any vector comes out otherwise once a change is made
    report      what was noticed, what was not, and the list of what need not be

Started by `python tests/single_changes` (all of them, with counts), by `python3 tests --long`, and, with a sample, by
every run of the tests.

Of the server, its SQL and the client, noticed by the tests:

    shells      which more changes these allow, and where none is made
    sql         which single changes SQL statements allow
    copies      copies of the tree, in which changes are made
    entered     which tests enter which functions
    places      the functions in which a change may be seen
    mutants     the sample, the tests that are asked, and the report

Started by `python3 tests --mutants`, by hand, before a release.
"""
