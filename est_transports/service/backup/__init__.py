"""A CA's directory in one file: taken while a server runs, and made a directory again."""
