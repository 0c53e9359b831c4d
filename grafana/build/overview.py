"""Whether needledrop keeps up, what arrives, how fast it is loaded, and what goes to quarantine."""

from panels import FEED, OF_FEED, OURS, BytesIEC, BytesPerSecondIEC, NoUnit, PercentUnit, Seconds, Short, board, lines, number, row

DASHBOARD = (
    board("overview", "needledrop: overview", "Whether needledrop keeps up, what arrives, how fast it is loaded, and what goes to quarantine.", "6h", "30s", [FEED])
    .with_row(row("Keeping up"))
    .with_panel(
        number(
            "Ready",
            f"max by (job) (needledrop_ready{{{OURS}}})",
            NoUnit,
            "Whether a daemon is ready: it can list its inbox, use its store and write to it.",
            alert="NeedledropNotReady",
            words={0: ("not ready", "red"), 1: ("ready", "green")},
        )
    )
    .with_panel(
        number(
            "Files waiting",
            f"sum(needledrop_backlog_files{{{OF_FEED}}})",
            Short,
            "Files that are new and not loaded yet.",
            [(100, "yellow")],
            alert="NeedledropBacklogGrowing",
        )
    )
    .with_panel(
        number(
            "Oldest waiting",
            f"max(needledrop_oldest_waiting_seconds{{{OF_FEED}}})",
            Seconds,
            "How long the oldest waiting file has waited for its loading to begin.",
            [(300, "yellow"), (900, "red")],
            alert="NeedledropOldestWaiting",
        )
    )
    .with_panel(
        number(
            "Since the last load",
            f"time() - max(needledrop_last_loaded_timestamp_seconds{{{OF_FEED}}} > 0)",
            Seconds,
            "Time since a delivery was last loaded. Empty until this process has loaded one.",
            [(86400, "yellow"), (93600, "red")],
            alert="NeedledropNothingLoaded",
        )
    )
    .with_panel(
        number(
            "Files that need attention",
            f"sum(needledrop_files_open{{{OF_FEED}}})",
            Short,
            "Failed, incomplete or unreadable files. Most need a correction before they can be loaded.",
            [(1, "red")],
            alert="NeedledropDeliveryFailed",
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
    .with_panel(
        lines(
            "Backlog",
            [(f"sum by (instance) (needledrop_backlog_bytes{{{OF_FEED}}})", "{{instance}}")],
            BytesIEC,
            "Size of the waiting files, as stored in the inbox. It should return to zero.",
            alert="NeedledropBacklogGrowing",
        )
    )
    .with_panel(
        lines(
            "Oldest waiting",
            [(f"max by (instance) (needledrop_oldest_waiting_seconds{{{OF_FEED}}})", "{{instance}}")],
            Seconds,
            "How long the oldest waiting file has waited for its loading to begin.",
            [(900, "red")],
            alert="NeedledropOldestWaiting",
        )
    )
    .with_row(row("Arrivals"))
    .with_panel(
        lines(
            "Deliveries",
            [(f"sum by (state) (increase(needledrop_deliveries_total{{{OF_FEED}}}[$__rate_interval]))", "{{state}}")],
            Short,
            "Deliveries that entered each state. Every delivery passes through waiting and loading.",
            alert="NeedledropDeliveryFailed",
            bars=True,
        )
    )
    .with_panel(
        lines(
            "Bytes read",
            [(f"sum by (instance) (rate(needledrop_bytes_read_total{{{OF_FEED}}}[$__rate_interval]))", "{{instance}}")],
            BytesPerSecondIEC,
            "Decoded bytes whose records are durable.",
        )
    )
    .with_row(row("Speed"))
    .with_panel(
        lines(
            "Records",
            [(f"sum by (instance) (rate(needledrop_records_read_total{{{OF_FEED}}}[$__rate_interval]))", "{{instance}}")],
            "rec/s",
            "Records per second that were loaded, skipped or quarantined.",
        )
    )
    .with_panel(
        lines(
            "Rows",
            [(f"sum by (table) (rate(needledrop_rows_written_total{{{OF_FEED}}}[$__rate_interval]))", "{{table}}")],
            "rows/s",
            "Rows acknowledged by the store, by table.",
            stacked=True,
        )
    )
    .with_panel(
        lines(
            "Drop to queryable",
            [
                (
                    f"histogram_quantile({quantile}, sum by (le) "
                    f"(rate(needledrop_drop_to_queryable_seconds_bucket{{{OF_FEED}}}[$__rate_interval])))",
                    f"p{quantile * 100:.0f}",
                )
                for quantile in (0.5, 0.9, 0.99)
            ],
            Seconds,
            "From the drop of a file to the acknowledgement of its last row in every table.",
            log=True,
        )
    )
    .with_panel(
        lines(
            "Where the time goes",
            [(f"sum by (stage) (rate(needledrop_stage_seconds_sum{{{OURS}}}[$__rate_interval]))", "{{stage}}")],
            NoUnit,
            "Average number of files or chunks that each stage works on. The slowest stage has the highest line.",
        )
    )
    .with_panel(
        lines(
            "Waiting for room",
            [(f"sum by (queue) (rate(needledrop_queue_wait_seconds_sum{{{OURS}}}[$__rate_interval]))", "{{queue}}")],
            NoUnit,
            "Average number of files or chunks that wait for room in a queue. A high value means that the stage after the queue is slower.",
        )
    )
    .with_panel(
        lines(
            "In the queues",
            [(f"sum by (queue) (needledrop_queue_depth{{{OURS}}})", "{{queue}}")],
            Short,
            "Files or chunks in each queue.",
        )
    )
    .with_panel(
        lines(
            "Read ahead of the ledger",
            [(f"sum by (instance) (needledrop_ledger_lag_bytes{{{OURS}}})", "{{instance}}")],
            BytesIEC,
            "Decoded bytes that were read but are not in the ledger yet. After a crash they are read again.",
        )
    )
    .with_row(row("Quarantine and failures"))
    .with_panel(
        lines(
            "Into quarantine",
            [
                (
                    f"sum by (reason) (rate(needledrop_records_quarantined_total{{{OF_FEED}}}[$__rate_interval]))",
                    "{{reason}}",
                )
            ],
            "rec/s",
            "Records that could not become rows, by reason.",
            alert="NeedledropQuarantineShare",
            stacked=True,
        )
    )
    .with_panel(
        lines(
            "Share in quarantine",
            [
                (
                    f"sum(rate(needledrop_records_quarantined_total{{{OF_FEED}}}[$__rate_interval])) / "
                    f"(sum(rate(needledrop_records_read_total{{{OF_FEED}}}[$__rate_interval])) > 0)",
                    "share",
                )
            ],
            PercentUnit,
            "Share of the records read that went to quarantine.",
            [(0.01, "red")],
            alert="NeedledropQuarantineShare",
        )
    )
    .with_row(row("The process"))
    .with_panel(
        lines(
            "CPU",
            [(f"sum by (instance) (rate(needledrop_process_cpu_seconds_total{{{OURS}}}[$__rate_interval]))", "{{instance}}")],
            NoUnit,
            "Number of cores in use. The kernel reports CPU time in whole seconds.",
        )
    )
    .with_panel(
        lines(
            "Memory",
            [(f"sum by (instance) (needledrop_process_resident_memory_bytes{{{OURS}}})", "{{instance}}")],
            BytesIEC,
            "Resident memory. It does not grow with the input.",
            [(134217728, "red")],
        )
    )
    .with_panel(
        lines(
            "Open files",
            [
                (f"sum by (instance) (needledrop_process_open_fds{{{OURS}}})", "{{instance}}"),
                (f"min(needledrop_process_max_fds{{{OURS}}})", "limit"),
            ],
            Short,
            "Files and sockets that the process has open, and the limit.",
            log=True,
        )
    )
    .with_panel(
        lines(
            "Threads",
            [(f"sum by (instance) (needledrop_process_threads{{{OURS}}})", "{{instance}}")],
            Short,
            "Threads of the process: the runtime's, one for HTTP, and one for each connection to SQLite.",
        )
    )
    .with_panel(
        lines(
            "Version",
            [(f"sum by (version) (needledrop_build_info{{{OURS}}})", "{{version}}")],
            Short,
            "Number of daemons of each version.",
        )
    )
    .with_panel(
        number(
            "Up since",
            f"time() - max(needledrop_process_start_time_seconds{{{OURS}}})",
            Seconds,
            "How long the most recently started process has been running.",
            alert="NeedledropDown",
        )
    )
    .with_panel(
        number(
            "Configuration",
            f"min(needledrop_config_last_reload_successful{{{OURS}}})",
            NoUnit,
            "Whether the current configuration file is in use.",
            alert="NeedledropConfigRefused",
            words={0: ("rejected", "red"), 1: ("in use", "green")},
        )
    )
    .with_panel(
        number(
            "Reloads",
            f"sum(increase(needledrop_config_reloads_total{{{OURS}}}[$__range]))",
            Short,
            "Reloads of the configuration in the time range shown.",
            alert="NeedledropConfigRefused",
        )
    )
)
