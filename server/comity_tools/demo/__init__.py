"""`comity demo`: three people and two businesses, a real server and its witness, and a story that must hold."""
