"""The operator's commands and the admin socket."""
