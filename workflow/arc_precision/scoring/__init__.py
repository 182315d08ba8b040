"""What training and evaluation both do to a completion: run its program, and hold its outputs against the answers."""
