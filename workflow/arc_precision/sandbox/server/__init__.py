"""The process tree that programs run in: see __main__.py. The library imports only the protocol from here."""
