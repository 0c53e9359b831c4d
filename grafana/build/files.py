"""What arrived each day, what went to quarantine or failed, and how soon files could be queried."""

from panels import FEED, OF_FEED, BytesIEC, NoUnit, Seconds, Short, board, heat_map, lines, number, row

# One bar per day.
DAY = "1d"


def daily(title, queries, unit, description, alert=None):
    return lines(title, queries, unit, description, alert=alert, stacked=True, bars=True).interval(DAY)


DASHBOARD = (
    board(
        "files",
        "needledrop: files",
        "What arrived each day, what went to quarantine or failed, and how soon files could be queried.",
        "30d",
        "5m",
        [FEED, ("table", 'label_values(needledrop_rows_written_total{job=~"$job"}, table)')],
    )
    .with_row(row("In the time range shown"))
    .with_panel(
        number(
            "Deliveries loaded",
            f'sum(increase(needledrop_deliveries_total{{{OF_FEED}, state="loaded"}}[$__range]))',
            Short,
            "Deliveries that were loaded.",
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        number(
            "Records",
            f"sum(increase(needledrop_records_read_total{{{OF_FEED}}}[$__range]))",
            Short,
            "Records that were read, and are now loaded, skipped or in quarantine.",
        )
    )
    .with_panel(
        number(
            "Failed",
            f'sum(needledrop_files_open{{{OF_FEED}, state="failed"}})',
            Short,
            "Files whose newest delivery failed.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
        )
    )
    .with_panel(
        number(
            "Incomplete",
            f'sum(needledrop_files_open{{{OF_FEED}, state="incomplete"}})',
            Short,
            "Files of which more bytes are expected.",
            [(1, "yellow")],
            alert="NeedledropDeliveryIncomplete",
        )
    )
    .with_panel(
        number(
            "Unreadable",
            f'sum(needledrop_files_open{{{OF_FEED}, state="unreadable"}})',
            Short,
            "Files that cannot be opened or read.",
            [(1, "red")],
            alert="NeedledropUnreadable",
        )
    )
    .with_panel(
        number(
            "Open in quarantine",
            f"sum(needledrop_quarantine_open{{{OF_FEED}}})",
            Short,
            "Records of all deliveries that are in quarantine, neither replayed nor discarded.",
            [(1, "yellow")],
            alert="NeedledropQuarantineShare",
        )
    )
    .with_row(row("Each day"))
    .with_panel(
        daily(
            "Deliveries a day",
            [
                (f'sum by (state) (increase(needledrop_deliveries_total{{{OF_FEED}, state!~"waiting|loading"}}[{DAY}]))', "{{state}}"),
                (f"sum(increase(needledrop_deliveries_unterminated_total{{{OF_FEED}}}[{DAY}]))", "without a final line end"),
            ],
            Short,
            "Deliveries per day, by their final state.",
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        daily(
            "Records a day",
            [
                (f"sum(increase(needledrop_records_read_total{{{OF_FEED}}}[{DAY}])) - "
                 f"sum(increase(needledrop_records_skipped_total{{{OF_FEED}}}[{DAY}])) - "
                 f"sum(increase(needledrop_records_quarantined_total{{{OF_FEED}}}[{DAY}]))", "loaded"),
                (f"sum(increase(needledrop_records_skipped_total{{{OF_FEED}}}[{DAY}]))", "skipped"),
                (f"sum(increase(needledrop_records_quarantined_total{{{OF_FEED}}}[{DAY}]))", "quarantined"),
            ],
            Short,
            "What the records of each day became. Check a day that has far fewer records than the others.",
            alert="NeedledropQuarantineShare",
        )
    )
    .with_panel(
        daily(
            "Rows a day",
            [(f'sum by (table) (increase(needledrop_rows_written_total{{{OF_FEED}, table=~"$table"}}[{DAY}]))', "{{table}}")],
            Short,
            "Rows acknowledged by the store per day, by table.",
        )
    )
    .with_panel(
        daily(
            "Bytes a day",
            [(f"sum by (instance) (increase(needledrop_bytes_read_total{{{OF_FEED}}}[{DAY}]))", "{{instance}}")],
            BytesIEC,
            "Decoded bytes read per day.",
        )
    )
    .with_row(row("Each feed"))
    .with_panel(
        lines(
            "Inbox",
            [(f"max by (feed) (needledrop_inbox_listed{{{OF_FEED}}})", "feed {{feed}}")],
            NoUnit,
            "1 while the inbox of a feed can be listed.",
            alert="NeedledropInboxMissing",
        )
    )
    .with_panel(
        lines(
            "Since the last load, by feed",
            [(f"time() - max by (feed) (needledrop_last_loaded_timestamp_seconds{{{OF_FEED}}} > 0)", "feed {{feed}}")],
            Seconds,
            "Time since a delivery of a feed was last loaded. Empty until this process has loaded one.",
            [(93600, "red")],
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        daily(
            "Records a day, by feed",
            [(f"sum by (feed) (increase(needledrop_records_read_total{{{OF_FEED}}}[{DAY}]))", "feed {{feed}}")],
            Short,
            "Records that were read per day, and are now loaded, skipped or in quarantine.",
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        daily(
            "Quarantine a day, by feed",
            [(f"sum by (feed) (increase(needledrop_records_quarantined_total{{{OF_FEED}}}[{DAY}]))", "feed {{feed}}")],
            Short,
            "Records that could not become rows, by feed.",
            alert="NeedledropQuarantineShare",
        )
    )
    .with_panel(
        lines(
            "Files that need attention, by feed",
            [(f"sum by (feed) (needledrop_files_open{{{OF_FEED}}})", "feed {{feed}}")],
            Short,
            "Failed, incomplete or unreadable files of each feed.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
        )
    )
    .with_panel(
        lines(
            "Oldest waiting, by feed",
            [(f"max by (feed) (needledrop_oldest_waiting_seconds{{{OF_FEED}}})", "feed {{feed}}")],
            Seconds,
            "How long the oldest waiting file of each feed has waited for its loading to begin.",
            [(900, "red")],
            alert="NeedledropOldestWaiting",
        )
    )
    .with_row(row("Quarantine and failures"))
    .with_panel(
        daily(
            "Quarantine a day, by reason",
            [(f"sum by (reason) (increase(needledrop_records_quarantined_total{{{OF_FEED}}}[{DAY}]))", "{{reason}}")],
            Short,
            "Records that could not become rows. docs/quarantine.md explains the reasons.",
            alert="NeedledropQuarantineShare",
        )
    )
    .with_panel(
        lines(
            "Files that need attention",
            [(f"sum by (state) (needledrop_files_open{{{OF_FEED}}})", "{{state}}")],
            Short,
            "Failed, incomplete or unreadable files over time.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
        )
    )
    .with_panel(
        lines(
            "Failed attempts to read files",
            [(f"sum by (instance) (increase(needledrop_files_unreadable_total{{{OF_FEED}}}[$__rate_interval]))", "{{instance}}")],
            Short,
            "Failed attempts to open or read a file.",
            alert="NeedledropUnreadable",
        )
    )
    .with_panel(
        lines(
            "Files left out",
            [(f"sum by (reason) (needledrop_files_left_out{{{OF_FEED}}})", "{{reason}}")],
            Short,
            "Files in the inbox that are not loaded because of their names: no pattern matches, ignored, or not UTF-8.",
        )
    )
    .with_panel(
        daily(
            "Loaded files that left the inbox",
            [(f"sum by (outcome) (increase(needledrop_files_after_total{{{OF_FEED}}}[{DAY}]))", "{{outcome}}")],
            Short,
            "Files moved to the archive or deleted (source.after). Failed moves and deletions are tried again.",
        )
    )
    .with_row(row("Delay"))
    .with_panel(
        heat_map(
            "Drop to queryable",
            f"sum by (le) (increase(needledrop_drop_to_queryable_seconds_bucket{{{OF_FEED}}}[$__rate_interval]))",
            Seconds,
            "How long files took, from the drop to the acknowledgement of the last row in every table.",
            alert="NeedledropOldestWaiting",
        )
    )
    .with_panel(
        lines(
            "Drop to queryable, p99 of an hour",
            [
                (
                    f"histogram_quantile(0.99, sum by (le) (increase(needledrop_drop_to_queryable_seconds_bucket{{{OF_FEED}}}[1h])))",
                    "p99",
                )
            ],
            Seconds,
            "Time within which 99 of 100 files could be queried.",
            [(900, "red")],
            alert="NeedledropOldestWaiting",
            log=True,
        )
    )
)
