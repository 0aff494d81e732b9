"""Keys, signatures, encryption and HTTP signatures."""
