"""`python -m comity_tools`: the command `comity` for whoever has the interpreter but not the script's path."""

from comity_tools.cli import main

main(prog_name="comity")
