"""`python -m comity_server`: the command `comity` for whoever has the interpreter but not the script's path."""

from comity_server.cli import main

main(prog_name="comity")
