//! Circles of files: what imports each other, however long the way, cannot be read, tested or moved apart.

use super::modules::Imports;
use std::collections::{BTreeMap, VecDeque};

/// The imports that close a circle, each as the shortest way that begins with it and comes back.
fn closing<'a>(imports: &Imports<'a>) -> Vec<Vec<&'a str>> {
    let each = imports.iter().flat_map(|(&file, named)| named.iter().map(move |&to| (file, to)));
    each.filter_map(|(file, to)| Some([vec![file], way(imports, to, file)?].concat())).collect()
}

/// The shortest way from one file to another by imports, both included.
fn way<'a>(imports: &Imports<'a>, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from = BTreeMap::from([(from, None)]);
    let mut waiting = VecDeque::from([from]);
    while let Some(at) = waiting.pop_front() {
        if at == to {
            let mut way: Vec<&str> = std::iter::successors(Some(at), |at| came_from[at]).collect();
            way.reverse();
            return Some(way);
        }
        for &next in imports.get(at).into_iter().flatten() {
            came_from.entry(next).or_insert_with(|| {
                waiting.push_back(next);
                Some(at)
            });
        }
    }
    None
}

/// Every import that closes a circle, with the way back.
pub fn complaints(imports: &Imports<'_>) -> Vec<String> {
    closing(imports).iter().map(|way| way.join(" imports ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Modules;
    use crate::source::Source;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|&(name, text)| Source::new(&format!("a/{name}"), text.to_owned())).collect()
    }

    /// The imports that close a circle, each as a word.
    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let sources = sources(files);
        let imports = Modules::new(&sources, "a/").imports();
        closing(&imports).iter().map(|way| format!("{}>{}", way[0], way[1]).replace("a/", "")).collect()
    }

    #[test]
    fn a_circle_through_a_reexport_is_found_where_the_item_is_defined() {
        let files = [
            ("lib.rs", "mod outer; mod other;"),
            ("outer/mod.rs", "mod inner; mod more; pub use inner::Thing; pub use more::*;"),
            ("outer/inner.rs", "use crate::other::Other; pub struct Thing;"),
            ("outer/more.rs", "pub struct More;"),
            ("other.rs", "use crate::outer::{More, Thing as That}; pub struct Other(That, More);"),
        ];
        assert_eq!(circles(&files), ["other.rs>outer/inner.rs", "outer/inner.rs>other.rs"]);
    }

    #[test]
    fn a_reexport_of_what_needs_its_parent_closes_a_circle() {
        let files = [("lib.rs", "mod b; pub use b::B; pub struct A;"), ("b.rs", "pub struct B(super::A);")];
        assert_eq!(circles(&files), ["b.rs>lib.rs", "lib.rs>b.rs"]);
    }

    #[test]
    fn declaring_a_module_imports_nothing() {
        let files = [("lib.rs", "pub mod b; pub struct A;"), ("b.rs", "use super::A; pub struct B(A);")];
        assert_eq!(circles(&files), [""; 0]);
    }

    #[test]
    fn names_are_followed_through_modules_aliases_globs_and_private_imports() {
        for user in [
            "fn f() { crate::b::g(); }",
            "use super::b; fn f() { b::g(); }",
            "use super::{b as c, b::{self}}; fn f() { c::g(); }",
            "use crate::b::*; fn f() { g(); }",
            "use super::hidden; fn f() { hidden(); }",
            "fn f() { self::inside::g() } mod inside { pub use super::super::b::g; }",
            "use crate::b::made_by_a_macro;",
        ] {
            let files = [
                ("lib.rs", "mod a; mod b; use b::g as hidden;"),
                ("a.rs", user),
                ("b.rs", "use crate::a::f; pub fn g() {} make!(made_by_a_macro);"),
            ];
            assert_eq!(circles(&files), ["a.rs>b.rs", "b.rs>a.rs"], "{user}");
        }
    }

    #[test]
    fn a_circle_of_three_is_one_and_what_hangs_on_it_is_not() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "pub fn a() { crate::b::b() }"),
            ("b.rs", "pub fn b() { crate::c::c(); crate::d::d() }"),
            ("c.rs", "pub fn c() { crate::a::a() }"),
            ("d.rs", "pub fn d() {}"),
        ];
        assert_eq!(circles(&files), ["a.rs>b.rs", "b.rs>c.rs", "c.rs>a.rs"]);
    }

    #[test]
    fn tests_and_other_crates_close_no_circle() {
        let tests = "#[cfg(test)]\nmod tests { use crate::a::A; fn f() { A; } }\npub struct B;";
        let files = [
            ("lib.rs", "mod a; mod b; use std::fmt::Debug;"),
            ("a.rs", "use crate::b::B; use super::Debug; use a::b; pub struct A(B);"),
            ("b.rs", tests),
            ("a/tests.rs", "use crate::b::B;"),
        ];
        assert_eq!(circles(&files), [""; 0]);
    }

    #[test]
    fn a_circle_is_named_by_its_whole_way() {
        let sources = sources(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use super::b::B; pub struct A;"),
            ("b.rs", "use super::c::C; pub struct B;"),
            ("c.rs", "use super::a::A; pub struct C;"),
        ]);
        let complaints = complaints(&Modules::new(&sources, "a/").imports());
        assert_eq!(complaints.len(), 3);
        assert_eq!(complaints[0], "a/a.rs imports a/b.rs imports a/c.rs imports a/a.rs");
    }

    #[test]
    fn methods_are_counted_by_the_files_they_stand_in() {
        let sources = sources(&[
            (
                "lib.rs",
                "mod a; mod b; pub struct A<T>(T); impl<T: Into<u8>> A<T> where T: Copy { fn f() {} }",
            ),
            ("a.rs", "use crate::A; impl A<Vec<u8>> { fn g() {} }"),
            ("b.rs", "use crate::A; impl<F: Fn() -> u8> From<F> for A<u8> { fn from() {} }"),
        ]);
        let methods = Modules::new(&sources, "a/").methods();
        let files: Vec<&str> = methods[&("a/lib.rs", "A".to_owned())].iter().copied().collect();
        assert_eq!((methods.len(), files), (1, vec!["a/a.rs", "a/lib.rs"]));
    }
}
