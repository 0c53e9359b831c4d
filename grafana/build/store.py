"""The store: latency, batches, retries and requests in flight."""

from panels import OURS, BytesIEC, DateTimeFromNow, NoUnit, Seconds, Short, board, heat_map, lines, number, row

TABLE = f'{OURS}, table=~"$table"'
RATE = "$__rate_interval"

DASHBOARD = (
    board(
        "store",
        "needledrop: store",
        "The store: latency, batches, retries and requests in flight.",
        "1h",
        "30s",
        [("table", 'label_values(needledrop_rows_written_total{job=~"$job"}, table)')],
    )
    .with_row(row("Availability"))
    .with_panel(
        number(
            "Store",
            f"min(needledrop_store_up{{{OURS}}})",
            NoUnit,
            "Whether the store answers.",
            alert="NeedledropStoreDown",
            words={0: ("unavailable", "red"), 1: ("available", "green")},
        )
    )
    .with_panel(
        number(
            "Lease",
            f"sum by (job) (needledrop_lease_held{{{OURS}}})",
            Short,
            "Processes that hold the lease, which is the right to write. One process per ledger holds it (Cassandra only).",
            alert="NeedledropNotReady",
        )
    )
    .with_panel(
        number(
            "Silence before takeover",
            f"max(needledrop_lease_takeover_seconds{{{OURS}}})",
            Seconds,
            "How long the previous lease holder had been silent when this process took over (Cassandra only).",
            [(30, "yellow")],
            alert="NeedledropNotReady",
        )
    )
    .with_panel(
        number(
            "Nodes away",
            f'max(needledrop_driver_nodes{{{OURS}, state="away"}})',
            Short,
            "Nodes that the driver knows but has no connection to (Cassandra only).",
            [(1, "yellow")],
            alert="NeedledropStoreDown",
        )
    )
    .with_panel(
        number(
            "Size",
            f"sum(needledrop_store_bytes{{{OURS}}})",
            BytesIEC,
            "Size of the database file and its write-ahead log (SQLite only).",
            alert="NeedledropStoreFull",
        )
    )
    .with_panel(
        number(
            "Requests in flight",
            f"sum(needledrop_requests_in_flight{{{OURS}}})",
            Short,
            "Requests to the store that are in flight now.",
        )
    )
    .with_row(row("Latency"))
    .with_panel(
        heat_map(
            "Write latency",
            f"sum by (le) (increase(needledrop_write_seconds_bucket{{{TABLE}}}[{RATE}]))",
            Seconds,
            "How long it took to write the rows of one chunk to one table.",
            alert="NeedledropWriteLatency",
        )
    )
    .with_panel(
        lines(
            "Write latency, p99",
            [
                (
                    f"histogram_quantile(0.99, sum by (le, table) (rate(needledrop_write_seconds_bucket{{{TABLE}}}[{RATE}])))",
                    "{{table}}",
                )
            ],
            Seconds,
            "Time within which the rows of 99 of 100 chunks were written.",
            [(2.5, "red")],
            alert="NeedledropWriteLatency",
            log=True,
        )
    )
    .with_row(row("Work"))
    .with_panel(
        lines(
            "Rows",
            [(f"sum by (table) (rate(needledrop_rows_written_total{{{TABLE}}}[{RATE}]))", "{{table}}")],
            "rows/s",
            "Rows acknowledged by the store.",
            stacked=True,
        )
    )
    .with_panel(
        lines(
            "Requests",
            [(f"sum by (table) (rate(needledrop_batch_rows_count{{{TABLE}}}[{RATE}]))", "{{table}}")],
            "reqps",
            "Batches and single rows sent to the cluster (Cassandra only).",
            stacked=True,
        )
    )
    .with_panel(
        heat_map(
            "Rows in a request",
            f"sum by (le) (increase(needledrop_batch_rows_bucket{{{TABLE}}}[{RATE}]))",
            Short,
            "Rows of one partition that were sent in one request (Cassandra only).",
        )
    )
    .with_panel(
        lines(
            "Rows in a request, mean",
            [
                (
                    f"sum by (table) (rate(needledrop_batch_rows_sum{{{TABLE}}}[{RATE}])) / "
                    f"(sum by (table) (rate(needledrop_batch_rows_count{{{TABLE}}}[{RATE}])) > 0)",
                    "{{table}}",
                )
            ],
            Short,
            "Few rows per request mean many requests. A larger write.window groups more rows (Cassandra only).",
        )
    )
    .with_panel(
        lines(
            "In flight",
            [(f"sum by (instance) (needledrop_requests_in_flight{{{OURS}}})", "{{instance}}")],
            Short,
            "Requests in flight. If the value stays at write.in_flight, the cluster is the bottleneck.",
        )
    )
    .with_panel(
        lines(
            "Writing",
            [(f'sum by (instance) (rate(needledrop_stage_seconds_sum{{{OURS}, stage="write"}}[{RATE}]))', "{{instance}}")],
            NoUnit,
            "Average number of chunks that are being written.",
        )
    )
    .with_row(row("Problems"))
    .with_panel(
        lines(
            "Retries",
            [(f"sum by (table, reason) (rate(needledrop_write_retries_total{{{OURS}}}[{RATE}]))", "{{table}} {{reason}}")],
            "ops",
            "Retried writes, by table and reason. Table * means the whole store, ledger the ledger.",
            [(0.1, "red")],
            alert="NeedledropRetries",
        )
    )
    .with_panel(
        lines(
            "Nodes",
            [(f"max by (state) (needledrop_driver_nodes{{{OURS}}})", "{{state}}")],
            Short,
            "Nodes that the driver knows: connected or away, which means not connected (Cassandra only).",
            alert="NeedledropStoreDown",
        )
    )
    .with_panel(
        lines(
            "Connections",
            [(f"sum by (instance) (needledrop_driver_connections{{{OURS}}})", "{{instance}}")],
            Short,
            "Open connections of the driver to the cluster (Cassandra only).",
            alert="NeedledropStoreDown",
        )
    )
    .with_panel(
        lines(
            "Timeouts of the driver",
            [(f"sum by (of) (rate(needledrop_driver_timeouts_total{{{OURS}}}[{RATE}]))", "{{of}}")],
            "ops",
            "Timeouts of the driver, by connection or request. Both are tried again (Cassandra only).",
            [(0.1, "red")],
            alert="NeedledropRetries",
        )
    )
    .with_panel(
        lines(
            "Answers",
            [(f"min by (instance) (needledrop_store_up{{{OURS}}})", "{{instance}}")],
            NoUnit,
            "1 while the store answers, otherwise 0.",
            alert="NeedledropStoreDown",
        )
    )
    .with_panel(
        lines(
            "Size of the store",
            [(f"sum by (instance) (needledrop_store_bytes{{{OURS}}})", "{{instance}}")],
            BytesIEC,
            "Size of the database file and its write-ahead log (SQLite only).",
            alert="NeedledropStoreFull",
        )
    )
    .with_row(row("Verification"))
    .with_panel(
        number(
            "Last verification",
            f"max(needledrop_last_verified_timestamp_seconds{{{OURS}}}) * 1000",
            DateTimeFromNow,
            "When a daemon last completed a verification. 1970 means never, or that verify is off.",
            alert="NeedledropWrongRows",
            span=12,
        )
    )
    .with_panel(
        number(
            "Not compared",
            f"max(needledrop_verify_not_compared{{{OURS}}})",
            Short,
            "Deliveries that the last verification could not compare. Their rows may count as different or extra.",
            [(1, "yellow")],
            alert="NeedledropWrongRows",
            span=12,
        )
    )
    .with_panel(
        lines(
            "Wrong rows",
            [(f"max by (table, kind) (needledrop_verify_wrong_rows{{{TABLE}}})", "{{table}} {{kind}}")],
            Short,
            "Wrong rows in the sample of the last verification.",
            [(1, "red")],
            alert="NeedledropWrongRows",
        )
    )
    .with_panel(
        lines(
            "Verifications",
            [(f"sum by (outcome) (increase(needledrop_verifications_total{{{OURS}}}[{RATE}]))", "{{outcome}}")],
            Short,
            "Verifications by outcome. An interrupted one starts again when the daemon is idle.",
            alert="NeedledropWrongRows",
        )
    )
)
