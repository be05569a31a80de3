use super::proof::{Hashes, Head, consistency, consistent, includes, inclusion};
use super::tile::{Tile, Tiles, WIDTH, entries, parse_path, path, put_entry, width_at};
use super::tree::Tree;
use super::*;
use crate::record::hash::hex;
use proptest::prelude::*;
use std::convert::Infallible;

/// The definition of RFC 6962 section 2.1, word for word.
fn by_definition(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => empty(),
        [one] => leaf(one),
        more => {
            let k = (1..)
                .map(|n| 1 << n)
                .take_while(|k| *k < more.len())
                .last()
                .unwrap_or(1);
            node(&by_definition(&more[..k]), &by_definition(&more[k..]))
        }
    }
}

fn entry(number: usize) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn grown(size: usize) -> (Tree, Vec<Tile>) {
    let (mut tree, mut full) = (Tree::default(), Vec::new());
    (0..size).for_each(|n| tree.push(leaf(&entry(n)), &mut full));
    (tree, full)
}

struct Leaves(usize);

impl Hashes for Leaves {
    type Error = Infallible;

    fn perfect(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
        let from = usize::try_from(index << level).unwrap();
        let to = from + (1 << level);
        assert!(to <= self.0, "asked for what the tree does not have");
        Ok(by_definition(&(from..to).map(entry).collect::<Vec<_>>()))
    }
}

fn head(size: usize) -> Head {
    let root = by_definition(&(0..size).map(entry).collect::<Vec<_>>());
    Head {
        size: size as u64,
        root,
    }
}

/// The leaves of the certificate transparency test vectors.
#[test]
fn roots_are_those_of_the_published_vectors() {
    let bytes = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let leaves = [
        vec![],
        vec![0],
        vec![0x10],
        vec![0x20, 0x21],
        vec![0x30, 0x31],
        bytes(0x40, 0x43),
        bytes(0x50, 0x57),
        bytes(0x60, 0x6f),
    ];
    let published = [
        (
            0,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            1,
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            2,
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            3,
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            4,
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            7,
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            8,
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];
    for (size, root) in published {
        let mut tree = Tree::default();
        leaves[..size]
            .iter()
            .for_each(|entry| tree.push(leaf(entry), &mut Vec::new()));
        assert_eq!(hex(&tree.root()), root, "{size} leaves");
    }
}

#[test]
fn the_growing_tree_has_the_root_of_the_definition() {
    for size in (0..70).chain([255, 256, 257, 511, 512, 513, 1000]) {
        assert_eq!(grown(size).0.root(), head(size).root, "{size} entries");
    }
}

#[test]
fn every_proof_of_every_small_tree_holds_and_no_other() {
    for size in 1..40 {
        let Head { root, .. } = head(size);
        for index in 0..size as u64 {
            let path = inclusion(index, size as u64, &mut Leaves(size)).unwrap();
            let leaf_at = |n: u64| leaf(&n.to_string().into_bytes());
            assert!(includes(&root, size as u64, index, &leaf_at(index), &path));
            for other in 0..size as u64 + 1 {
                let holds = includes(&root, size as u64, other, &leaf_at(index), &path);
                assert_eq!(holds, other == index, "{index} as {other} of {size}");
            }
            assert!(!includes(&root, size as u64, index, &leaf_at(index + 1), &path));
        }
        for old in 0..=size {
            let path = consistency(old as u64, size as u64, &mut Leaves(size)).unwrap();
            assert!(consistent(&head(old), &head(size), &path), "{old} of {size}");
            let mut longer = path.clone();
            longer.push(root);
            assert!(
                !consistent(&head(old), &head(size), &longer),
                "{old} of {size}, longer"
            );
            let forked = Head {
                root: empty(),
                ..head(size)
            };
            assert!(
                old == 0 || !consistent(&head(old), &forked, &path),
                "{old} of a fork"
            );
        }
    }
}

#[test]
fn a_proof_of_a_billion_entries_is_short() {
    struct Any;
    impl Hashes for Any {
        type Error = Infallible;
        fn perfect(&mut self, _: u32, _: u64) -> Result<Hash, Infallible> {
            Ok([7; 32])
        }
    }
    for index in [0, 499_999_999, 999_999_999] {
        let path = inclusion(index, 1_000_000_000, &mut Any).unwrap();
        assert!(path.len() * 32 <= 1024, "{} hashes", path.len());
    }
}

/// 70,000 entries: the example of tlog-tiles.
#[test]
fn tiles_are_those_of_the_specification() {
    let (tree, full) = grown(70_000);
    let count = |level| full.iter().filter(|tile| tile.level == level).count();
    assert_eq!((count(0), count(1), count(2)), (273, 1, 0));
    let partial: Vec<String> = tree.partial().map(|tile| tile.path()).collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let at = |level, index, width| {
        let mut tiles = full.iter().cloned().chain(tree.partial());
        let tile =
            tiles.find(|tile| (tile.level, tile.index, tile.hashes.len() as u64) == (level, index, width));
        tile.map(|tile| tile.hashes).ok_or("no such tile")
    };
    let mut tiles = Tiles::new(70_000, at);
    let path = inclusion(69_999, 70_000, &mut tiles).unwrap();
    assert!(includes(
        &tree.root(),
        70_000,
        69_999,
        &leaf(&entry(69_999)),
        &path
    ));
    assert_eq!(proof::root(0, 70_000, &mut tiles).unwrap(), tree.root());
}

#[test]
fn a_tree_goes_on_from_its_partial_tiles() {
    let (mut whole, _) = grown(66_000);
    let edge: Vec<Tile> = whole.partial().collect();
    let fetch = |level: u8, index: u64| {
        let tile = edge
            .iter()
            .find(|tile| (tile.level, tile.index) == (level, index));
        tile.map(|tile| tile.hashes.clone()).ok_or("no such tile")
    };
    let mut resumed = Tree::resume(66_000, fetch).unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for n in 66_000..66_400 {
        whole.push(leaf(&entry(n)), &mut one);
        resumed.push(leaf(&entry(n)), &mut two);
        assert_eq!(whole.root(), resumed.root());
    }
    assert_eq!(one, two);
}

#[test]
fn paths_are_spelled_as_the_specification_says() {
    assert_eq!(path(Some(0), 1_234_067, WIDTH), "tile/0/x001/x234/067");
    assert_eq!(path(None, 7, 3), "tile/entries/007.p/3");
    for wrong in [
        "tile/0/1",
        "tile/0/x000/001",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/64/000",
        "tile/0/../x",
        "tile/0/+12",
        "tile/00/001",
    ] {
        assert_eq!(parse_path(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn paths_are_read_back(level in prop::option::of(0u8..64), index in 0u64..1 << 56, width in 1..=WIDTH) {
        prop_assert_eq!(parse_path(&path(level, index, width)), Some((level, index, width)));
    }

    #[test]
    fn hostile_paths_and_bundles_do_no_harm(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        parse_path(&text);
        parse_path(&format!("tile/{text}"));
        entries(&bytes);
    }

    #[test]
    fn bundles_are_read_back(lines in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut bundle = Vec::new();
        for line in &lines {
            prop_assert!(put_entry(&mut bundle, line));
        }
        prop_assert_eq!(entries(&bundle).unwrap(), lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if !bundle.is_empty() {
            bundle.pop();
            prop_assert!(entries(&bundle).is_none());
        }
    }

    #[test]
    fn hostile_proofs_are_refused(size in any::<u64>(), index in any::<u64>(), path in prop::collection::vec(any::<Hash>(), 0..70)) {
        prop_assert!(!includes(&[1; 32], size, index, &[2; 32], &path));
        let (old, new) = (Head { size: index, root: [3; 32] }, Head { size, root: [1; 32] });
        prop_assert!(!consistent(&old, &new, &path));
    }

    #[test]
    fn widths_add_up_to_the_tree(size in 0u64..200_000) {
        let leaves: u64 = (0..=size / WIDTH).map(|index| width_at(0, index, size)).sum();
        prop_assert_eq!(leaves, size);
    }
}

/// `tlog_tiles`, the Rust port of Go's sumdb/tlog, agrees on every proof.
#[test]
fn another_implementation_checks_our_proofs() {
    use tlog_tiles::{Hash as Theirs, check_record, check_tree};
    let theirs = |path: Vec<Hash>| path.into_iter().map(Theirs).collect::<Vec<_>>();
    for size in [1, 2, 3, 7, 8, 21, 64, 100] {
        let whole = head(size);
        for index in 0..size as u64 {
            let path = theirs(inclusion(index, size as u64, &mut Leaves(size)).unwrap());
            let hash = Theirs(leaf(&index.to_string().into_bytes()));
            check_record(&path, whole.size, Theirs(whole.root), index, hash).unwrap();
        }
        for old in 1..=size {
            let path = theirs(consistency(old as u64, size as u64, &mut Leaves(size)).unwrap());
            check_tree(
                &path,
                whole.size,
                Theirs(whole.root),
                old as u64,
                Theirs(head(old).root),
            )
            .unwrap();
        }
    }
}
