"""The configuration of needledrop for the parameters that Pollock gives for a file.

A setting that a build does not have yet is written all the same: that build refuses the configuration, and its message
becomes the reason for the points of these files.
"""

# The repository holds all files with line feeds, also those whose parameters say "\r\n". `any` reads both.
LINES = {"\r\n": "any", "\n": "lf", "\r": "cr", "": "any"}
# In the encodings that browsers know, "ascii" is another name for windows-1252.
ENCODINGS = {"ascii": "utf-8"}


def format_of(parameters, footnote_lines):
    """Returns source.format. Nothing is lenient: the parameters do not say that records differ from the header."""
    quote, escape = parameters["quotechar"], parameters["escapechar"]
    settings = {
        "delimiter": parameters["delimiter"],
        "quote": quote,
        "escape": "doubled" if escape == quote else escape,
        "lines": LINES.get(parameters["record_delimiter"], parameters["record_delimiter"]),
        "skip_lines": parameters["preamble_rows"] + parameters["header_lines"],
        "header": False,
        "names": parameters["column_names"],
    }
    if footnote_lines:
        settings["skip_footer"] = footnote_lines
    return settings


def columns_of(names):
    """Returns names that a table can have for the fields of a record, in order."""
    return [f"c{index}" for index in range(1, len(names) + 1)]


def configuration(parameters, footnote_lines):
    """Returns a configuration for files with these parameters: each record is a row, and each field a text."""
    names = parameters["column_names"]
    columns = dict(zip(columns_of(names), names))
    encoding = parameters["encoding"]
    return {
        "source": {
            "folder": "inbox",
            "encoding": ENCODINGS.get(encoding, encoding),
            "format": format_of(parameters, footnote_lines),
            "columns": {column: {"type": "text", "from": name} for column, name in columns.items()},
            "skip_when_empty": [],
            "derive": {"file": {"file_name": None}, "line": {"line": None}},
        },
        "tables": {
            "records": {
                "answers": "the records of file F, in order",
                "partition_key": ["file"],
                "clustering_key": ["line"],
                "columns": list(columns),
            }
        },
        "limits": {"max_quarantined": "off"},
        "store": {"kind": "sqlite", "sqlite": {"path": "store.db"}},
    }
