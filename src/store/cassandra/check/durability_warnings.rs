//! Warnings about what weakens the guarantee of an acknowledgement or a stamp. This module sends no requests.

use std::collections::{BTreeMap, BTreeSet};

use scylla::statement::Consistency;

/// A clock that differs from the node's clock by more than this is reported, in microseconds (1 s).
const CLOCKS: i64 = 1_000_000;

/// The replication option that gives the number of replicas without naming a data centre.
const FACTOR: &str = "replication_factor";

/// What is known about the cluster, and how this process uses it.
pub struct Topology {
    pub nodes: usize,
    pub datacenters: BTreeSet<String>,
    /// The only data centre that receives requests, if one is configured.
    pub local: Option<String>,
    /// The consistency at which the ledger is written and read.
    pub ledger: Consistency,
}

/// A keyspace that exists or will be created.
pub struct Keyspace {
    pub name: String,
    pub replication: BTreeMap<String, String>,
    pub durable: bool,
    pub is_there: bool,
    pub has_ledger: bool,
}

impl Keyspace {
    /// Returns the warnings about this keyspace.
    pub fn warnings(&self, topology: &Topology) -> Vec<String> {
        let found =
            [self.few_replicas(topology), self.simple(topology), self.volatile(), self.apart(topology)];
        found.into_iter().flatten().collect()
    }

    fn has(&self) -> String {
        format!("keyspace {} {}", self.name, if self.is_there { "has" } else { "will have" })
    }

    fn is_simple(&self) -> bool {
        self.replication.get("class").is_some_and(|class| class.ends_with("SimpleStrategy"))
    }

    /// Returns the number of replicas by data centre. `SimpleStrategy` has no data centres, so its replicas are under
    /// an empty name.
    fn factors<'a>(&'a self, topology: &'a Topology) -> BTreeMap<&'a str, u32> {
        let factor = |key: &str| self.replication.get(key).and_then(|factor| factor.parse().ok());
        let mut factors = BTreeMap::new();
        match factor(FACTOR) {
            Some(all) if self.is_simple() => return [("", all)].into(),
            // A keyspace that will be created gets this number of replicas in each data centre.
            Some(each) => factors.extend(topology.datacenters.iter().map(|name| (name.as_str(), each))),
            None => {}
        }
        let named = self.replication.keys().filter(|key| !["class", FACTOR].contains(&key.as_str()));
        factors.extend(named.filter_map(|name| Some((name.as_str(), factor(name)?))));
        factors.retain(|_, factor| *factor > 0);
        factors
    }

    fn few_replicas(&self, topology: &Topology) -> Option<String> {
        let factors = self.factors(topology);
        if factors.values().sum::<u32>() == 1 {
            return Some(format!("{} replication 1: {ON_ONE}", self.has()));
        }
        if self.is_simple() || topology.ledger != Consistency::LocalQuorum {
            return None;
        }
        // Without a local data centre, requests may go to any data centre.
        let asked = match &topology.local {
            Some(local) => Some((local.as_str(), factors.get(local.as_str()).copied().unwrap_or(0))),
            None => factors.into_iter().min_by_key(|(_, factor)| *factor),
        };
        match asked? {
            (name, 0) => Some(format!(
                "{} no replica in data centre {name}: nothing is acknowledged there; ALTER KEYSPACE, or set \
                 store.cassandra.local_datacenter to another",
                self.has()
            )),
            (name, 1) => Some(format!("{} replication 1 in data centre {name}: {ON_ONE}", self.has())),
            _ => None,
        }
    }

    fn simple(&self, topology: &Topology) -> Option<String> {
        let weak = self.is_simple() && topology.nodes > 1;
        weak.then(|| {
            format!(
                "{} SimpleStrategy on {} nodes: it ignores racks and data centres; use \
                 NetworkTopologyStrategy",
                self.has(),
                topology.nodes
            )
        })
    }

    fn volatile(&self) -> Option<String> {
        let warning = || format!("{} durable_writes = false: rows are lost when nodes stop", self.has());
        (!self.durable).then(warning)
    }

    /// Warns about a ledger that is kept at the quorum of one of several data centres. Two processes that each agree
    /// only with their own data centre could both hold the lease.
    fn apart(&self, topology: &Topology) -> Option<String> {
        let several = self.factors(topology).len() > 1;
        (self.has_ledger && several && topology.ledger == Consistency::LocalQuorum).then(|| {
            format!(
                "{} replicas in several data centres, and lease and ledger are agreed on within only one \
                 (LOCAL_QUORUM): give all daemons of this ledger, including standbys, the same \
                 store.cassandra.local_datacenter, or set consistency.write to QUORUM or EACH_QUORUM",
                self.has()
            )
        })
    }
}

const ON_ONE: &str = "an acknowledged row is on one node, in its commit log within commitlog_sync_period \
                      (10 s by default), and is lost with the disk of that node";

/// Warns about the consistency at which rows are written.
pub fn of_consistency(write: Consistency) -> Option<String> {
    let level = match write {
        Consistency::One => "ONE",
        Consistency::LocalOne => "LOCAL_ONE",
        _ => return None,
    };
    Some(format!(
        "consistency {level}: a row counts as written when one replica has it, and is lost with that replica"
    ))
}

/// Warns if the clocks differ. The node reported its time between our times `before` and `after`. All times are in
/// microseconds.
pub fn of_clocks(before: i64, node: i64, after: i64) -> Option<String> {
    let apart = (before - node).max(0) + (after - node).min(0);
    (apart.abs() > CLOCKS).then(|| {
        let (seconds, side) = (apart.abs() / CLOCKS, if apart > 0 { "ahead of" } else { "behind" });
        format!(
            "the clock of this machine is {seconds} s {side} the node's: deletes by other programs may hide or \
             miss the rows of needledrop; run NTP on both"
        )
    })
}

/// Warns about a limit that the server sets for stamps.
pub fn of_guardrail(name: &str, value: Option<&str>) -> Option<String> {
    let value = value.filter(|value| !value.is_empty() && *value != "null")?;
    let why = if name.starts_with("minimum_timestamp_") {
        "a delivery that is resumed or replayed is written with the stamps it was given"
    } else if name.starts_with("maximum_timestamp_") {
        "stamps may be 10 minutes ahead of the clock"
    } else {
        return None;
    };
    let does = if name.ends_with("fail_threshold") { "refuses" } else { "warns of" };
    Some(format!("guardrail {name} is {value}, and the server {does} stamps beyond it: {why}"))
}

/// Warns about options of a table. An option is `None` if the server does not have it.
pub fn of_options(table: &str, ttl: Option<i32>, cdc: Option<bool>) -> Vec<String> {
    let begins = ttl.is_some_and(|ttl| ttl > 0).then(|| {
        format!(
            "table {table} has a default time to live: the time starts again when a record is written again"
        )
    });
    let again = (cdc == Some(true))
        .then(|| format!("table {table} has CDC: a record that is written again is reported again"));
    begins.into_iter().chain(again).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "org.apache.cassandra.locator.NetworkTopologyStrategy";
    const SIMPLE: &str = "org.apache.cassandra.locator.SimpleStrategy";

    fn topology(nodes: usize, local: Option<&str>) -> Topology {
        Topology {
            nodes,
            datacenters: ["dc1", "dc2"].map(str::to_owned).into(),
            local: local.map(str::to_owned),
            ledger: Consistency::LocalQuorum,
        }
    }

    fn keyspace(class: &str, factors: &[(&str, &str)]) -> Keyspace {
        let all = [&[("class", class)], factors].concat().into_iter();
        let replication = all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Keyspace { name: "ks".to_owned(), replication, durable: true, is_there: true, has_ledger: false }
    }

    /// Asserts that there are as many warnings as parts, and that each warning contains the part at its position.
    #[track_caller]
    fn assert_warnings(warnings: &[String], parts: &[&str]) {
        assert_eq!(warnings.len(), parts.len(), "{warnings:#?}");
        for (warnings, part) in warnings.iter().zip(parts) {
            assert!(warnings.contains(part), "{part:?} is not in {warnings:?}");
        }
    }

    #[test]
    fn a_single_replica_is_reported() {
        let one = |class, factors: &[(&str, &str)]| keyspace(class, factors).warnings(&topology(1, None));
        assert_warnings(&one(SIMPLE, &[(FACTOR, "1")]), &["ks has replication 1: "]);
        assert_warnings(&one(NETWORK, &[("dc1", "1")]), &["ks has replication 1: "]);
        assert_warnings(&one(NETWORK, &[("dc1", "1"), ("dc2", "0")]), &["ks has replication 1: "]);
        assert_warnings(&one(SIMPLE, &[(FACTOR, "3")]), &[]);
        assert_warnings(&one(NETWORK, &[("dc1", "3")]), &[]);
    }

    #[test]
    fn replicas_are_counted_in_the_data_centre_that_gets_the_requests() {
        let unequal = keyspace(NETWORK, &[("dc1", "1"), ("dc2", "3")]);
        let warnings = |local, ledger| unequal.warnings(&Topology { ledger, ..topology(4, local) });
        let one = ["replication 1 in data centre dc1"];
        assert_warnings(&warnings(Some("dc1"), Consistency::LocalQuorum), &one);
        assert_warnings(&warnings(None, Consistency::LocalQuorum), &one);
        assert_warnings(&warnings(Some("dc2"), Consistency::LocalQuorum), &[]);
        assert_warnings(&warnings(Some("dc1"), Consistency::Quorum), &[]);
        assert_warnings(&warnings(Some("dc3"), Consistency::LocalQuorum), &["no replica in data centre dc3"]);
    }

    #[test]
    fn simple_strategy_is_reported_on_several_nodes() {
        let simple = keyspace(SIMPLE, &[(FACTOR, "3")]);
        assert_warnings(&simple.warnings(&topology(1, Some("dc1"))), &[]);
        assert_warnings(&simple.warnings(&topology(3, Some("dc1"))), &["SimpleStrategy on 3 nodes"]);
    }

    #[test]
    fn writes_that_are_not_durable_are_reported() {
        let volatile = Keyspace { durable: false, ..keyspace(NETWORK, &[("dc1", "3")]) };
        assert_warnings(&volatile.warnings(&topology(3, None)), &["ks has durable_writes = false"]);
    }

    #[test]
    fn a_missing_keyspace_is_judged_by_its_configuration() {
        let planned = |class, factor, nodes| {
            let keyspace = Keyspace { is_there: false, ..keyspace(class, &[(FACTOR, factor)]) };
            keyspace.warnings(&topology(nodes, None))
        };
        let (one, simple) = ("ks will have replication 1: ", "ks will have SimpleStrategy on 3 nodes");
        assert_warnings(&planned("SimpleStrategy", "1", 3), &[one, simple]);
        assert_warnings(
            &planned("NetworkTopologyStrategy", "1", 3),
            &["will have replication 1 in data centre dc1"],
        );
        assert_warnings(&planned("NetworkTopologyStrategy", "3", 6), &[]);
    }

    #[test]
    fn a_ledger_in_several_data_centres_needs_one_local_data_centre() {
        let ledger = |factors| Keyspace { has_ledger: true, ..keyspace(NETWORK, factors) };
        let two = ledger(&[("dc1", "3"), ("dc2", "3")]);
        let warnings = |ledger| two.warnings(&Topology { ledger, ..topology(6, Some("dc1")) });
        assert_warnings(&warnings(Consistency::LocalQuorum), &["the same store.cassandra.local_datacenter"]);
        assert_warnings(&warnings(Consistency::Quorum), &[]);
        assert_warnings(&warnings(Consistency::EachQuorum), &[]);
        assert_warnings(&ledger(&[("dc1", "3")]).warnings(&topology(6, None)), &[]);
        assert_warnings(&Keyspace { has_ledger: false, ..two }.warnings(&topology(6, None)), &[]);
        let planned = Keyspace { is_there: false, ..ledger(&[(FACTOR, "3")]) };
        assert_warnings(
            &planned.warnings(&topology(6, None)),
            &["ks will have replicas in several data centres"],
        );
    }

    #[test]
    fn clocks_more_than_a_second_apart_are_reported() {
        let second = CLOCKS;
        let warnings = |node| of_clocks(10 * second, node, 12 * second);
        assert_eq!((warnings(9 * second), warnings(11 * second), warnings(13 * second)), (None, None, None));
        assert_warnings(warnings(8 * second - 1).as_slice(), &["2 s ahead of the node's"]);
        assert_warnings(warnings(13 * second + 1).as_slice(), &["1 s behind the node's"]);
    }

    #[test]
    fn limits_on_stamps_are_reported_if_they_are_set() {
        let warnings = |name| of_guardrail(name, Some("5m"));
        let (ahead, again) = ("10 minutes ahead", "resumed or replayed");
        for (name, does, why) in [
            ("maximum_timestamp_fail_threshold", "refuses", ahead),
            ("maximum_timestamp_warn_threshold", "warns of", ahead),
            ("minimum_timestamp_fail_threshold", "refuses", again),
            ("minimum_timestamp_warn_threshold", "warns of", again),
        ] {
            let warnings = warnings(name).unwrap();
            assert!(
                warnings.contains(&format!("{name} is 5m, and the server {does}")) && warnings.contains(why),
                "{warnings}"
            );
        }
        assert_eq!(warnings("maximum_replication_factor_fail_threshold"), None);
        for unset in [None, Some(""), Some("null")] {
            assert_eq!(of_guardrail("maximum_timestamp_fail_threshold", unset), None);
        }
    }

    #[test]
    fn a_missing_option_does_not_hide_the_warning_about_the_other() {
        assert_warnings(&of_options("t", Some(60), None), &["default time to live"]);
        assert_warnings(&of_options("t", None, Some(true)), &["CDC"]);
        assert_warnings(&of_options("t", Some(0), Some(false)), &[]);
    }

    #[test]
    fn a_consistency_of_one_replica_is_reported() {
        assert_warnings(of_consistency(Consistency::One).as_slice(), &["consistency ONE: "]);
        assert_warnings(of_consistency(Consistency::LocalOne).as_slice(), &["consistency LOCAL_ONE: "]);
        assert_eq!(of_consistency(Consistency::LocalQuorum), None);
    }
}
