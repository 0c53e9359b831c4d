//! Tests of headers, and of files without records.

use super::*;

#[test]
fn ignored_columns_are_reported_once() {
    let world = world();
    world.drop_file("a.csv", "x,v,k,y\n1,2,a,3\n1,2,b,3\n");
    world.drop_file("b.csv", "x,k,v,y\n1,c,2,3\n");
    world.drop_file("c.csv", "k,v,z\nd,1,2\n");
    let output = world.run(&["run", "--once"]);
    let said: Vec<&str> = output.stderr.lines().filter(|line| line.contains("ignored")).collect();
    assert_eq!(said.len(), 2, "{output:?}");
    assert!(said[0].contains("x, y") && said[1].contains("z"), "{said:?}");
    assert_eq!(table(&world).len(), 4);
}

#[test]
fn files_without_a_record_are_loaded_and_never_duplicates() {
    let world = world();
    let files: [(&str, &[u8]); 6] = [
        ("a.csv", b""),
        ("b.csv", b""),
        ("c.csv", b"k,v\n"),
        ("d.csv", b"k,v\n"),
        ("e.csv", b"\xef\xbb\xbfk,v"),
        ("f.csv.gz", &gzip(b"k,v\n")),
    ];
    files.iter().for_each(|(name, bytes)| world.drop_file(name, bytes));
    world.drop_file("g.csv.zst", zstd(b""));
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 7 }));
    for (name, _) in files {
        assert_eq!(counts(&world.receipt(name)), ("loaded", 0, 0));
    }
}
