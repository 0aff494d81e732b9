"""`python -m comity_tools`: the command `comity`, started with the interpreter alone."""

from comity_tools.cli import main

main(prog_name="comity")
