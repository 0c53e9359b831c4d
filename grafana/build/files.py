"""What each day brought, what was refused of it, and how soon it could be asked for."""

from panels import OURS, BytesIEC, Seconds, Short, board, heat_map, lines, number, row

# A bar a day.
DAY = "1d"


def daily(title, queries, unit, description, alert=None):
    return lines(title, queries, unit, description, alert=alert, stacked=True, bars=True).interval(DAY)


DASHBOARD = (
    board(
        "files",
        "needledrop: files",
        "What each day brought, what was refused of it, and how soon it could be asked for.",
        "30d",
        "5m",
        [("table", 'label_values(needledrop_rows_written_total{job=~"$job"}, table)')],
    )
    .with_row(row("In the time shown"))
    .with_panel(
        number(
            "Deliveries loaded",
            f'sum(increase(needledrop_deliveries_total{{{OURS}, state="loaded"}}[$__range]))',
            Short,
            "Deliveries that became loaded.",
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        number(
            "Records",
            f"sum(increase(needledrop_records_read_total{{{OURS}}}[$__range]))",
            Short,
            "Records read and accounted for.",
        )
    )
    .with_panel(
        number(
            "Failed",
            f'sum(needledrop_files_open{{{OURS}, state="failed"}})',
            Short,
            "Files whose delivery failed and was not delivered again.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
        )
    )
    .with_panel(
        number(
            "Incomplete",
            f'sum(needledrop_files_open{{{OURS}, state="incomplete"}})',
            Short,
            "Files of which more is expected.",
            [(1, "yellow")],
            alert="NeedledropDeliveryIncomplete",
        )
    )
    .with_panel(
        number(
            "Unreadable",
            f'sum(needledrop_files_open{{{OURS}, state="unreadable"}})',
            Short,
            "Files that cannot be opened or read.",
            [(1, "red")],
            alert="NeedledropUnreadable",
        )
    )
    .with_panel(
        number(
            "Open in quarantine",
            f"sum(needledrop_quarantine_open{{{OURS}}})",
            Short,
            "Records that were neither replayed nor discarded, of all deliveries.",
            [(1, "yellow")],
            alert="NeedledropQuarantineShare",
        )
    )
    .with_row(row("What each day brought"))
    .with_panel(
        daily(
            "Deliveries a day",
            [
                (f'sum by (state) (increase(needledrop_deliveries_total{{{OURS}, state!~"waiting|loading"}}[{DAY}]))', "{{state}}"),
                (f"sum(increase(needledrop_deliveries_unterminated_total{{{OURS}}}[{DAY}]))", "without a final line end"),
            ],
            Short,
            "Deliveries by the state they ended in, each day.",
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        daily(
            "Records a day",
            [
                (f"sum(increase(needledrop_records_read_total{{{OURS}}}[{DAY}])) - "
                 f"sum(increase(needledrop_records_skipped_total{{{OURS}}}[{DAY}])) - "
                 f"sum(increase(needledrop_records_quarantined_total{{{OURS}}}[{DAY}]))", "loaded"),
                (f"sum(increase(needledrop_records_skipped_total{{{OURS}}}[{DAY}]))", "skipped"),
                (f"sum(increase(needledrop_records_quarantined_total{{{OURS}}}[{DAY}]))", "quarantined"),
            ],
            Short,
            "What became of the records of each day. A day that is much smaller than the others is worth a look.",
            alert="NeedledropQuarantineShare",
        )
    )
    .with_panel(
        daily(
            "Rows a day",
            [(f'sum by (table) (increase(needledrop_rows_written_total{{{OURS}, table=~"$table"}}[{DAY}]))', "{{table}}")],
            Short,
            "Rows that the store acknowledged each day, by table.",
        )
    )
    .with_panel(
        daily(
            "Bytes a day",
            [(f"sum by (instance) (increase(needledrop_bytes_read_total{{{OURS}}}[{DAY}]))", "{{instance}}")],
            BytesIEC,
            "Decoded bytes of each day.",
        )
    )
    .with_row(row("What was refused"))
    .with_panel(
        daily(
            "Quarantine a day, by reason",
            [(f"sum by (reason) (increase(needledrop_records_quarantined_total{{{OURS}}}[{DAY}]))", "{{reason}}")],
            Short,
            "Records that could not become rows. docs/quarantine.md tells what each reason means.",
            alert="NeedledropQuarantineShare",
        )
    )
    .with_panel(
        lines(
            "Files that wait for somebody",
            [(f"sum by (state) (needledrop_files_open{{{OURS}}})", "{{state}}")],
            Short,
            "Failed, incomplete or unreadable files over time.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
        )
    )
    .with_panel(
        lines(
            "Tries to read what cannot be read",
            [(f"sum by (instance) (increase(needledrop_files_unreadable_total{{{OURS}}}[$__rate_interval]))", "{{instance}}")],
            Short,
            "Files that could not be opened or read, counted at each try.",
            alert="NeedledropUnreadable",
        )
    )
    .with_panel(
        daily(
            "Loaded files that left the inbox",
            [(f"sum by (outcome) (increase(needledrop_files_after_total{{{OURS}}}[{DAY}]))", "{{outcome}}")],
            Short,
            "Moved into the archive or deleted, where source.after says so; what failed is tried again.",
        )
    )
    .with_row(row("How soon"))
    .with_panel(
        heat_map(
            "Drop to queryable",
            f"sum by (le) (increase(needledrop_drop_to_queryable_seconds_bucket{{{OURS}}}[$__rate_interval]))",
            Seconds,
            "From the drop of a file to the acknowledgement of its last row in every table: how many took how long.",
            alert="NeedledropOldestWaiting",
        )
    )
    .with_panel(
        lines(
            "Drop to queryable, p99 of an hour",
            [
                (
                    f"histogram_quantile(0.99, sum by (le) (increase(needledrop_drop_to_queryable_seconds_bucket{{{OURS}}}[1h])))",
                    "p99",
                )
            ],
            Seconds,
            "Time within which 99 of 100 files could be asked for.",
            [(900, "red")],
            alert="NeedledropOldestWaiting",
            log=True,
        )
    )
)
