"""Text as a literal of SQL."""


def quote(text):
    return "'" + text.replace("'", "''") + "'"
