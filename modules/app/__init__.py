"""The program as a whole: its command line, its server, and the parts put together."""
