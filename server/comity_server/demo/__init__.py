"""`comity demo`: three people and two businesses, a real server, and a story that must hold."""
