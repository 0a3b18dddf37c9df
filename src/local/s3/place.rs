//! Where the object of a key lies in the bucket's folder.
//!
//! A key is a stranger's text, a path is obeyed by the file system. Each part of the key between
//! slashes becomes one file name that a person still recognises; what a file name must not be is
//! written as `%2E`. A key that does not fit (a name too long, `a` beside `a/b`, a file of the user in
//! the way) gets a name from its hash instead; the journal knows which it is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// Longest file name on the file systems in use, in bytes.
const MAX_NAME: usize = 255;
/// Longest path the system calls take, with room for the final zero.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 4095 } else { 1023 };
/// The part between two slashes that follow each other. No escape: two hex digits make those.
const EMPTY: &str = "%_";
/// Begins names made from a hash; cannot begin a name made from a key.
const HASHED: &str = "%-";

/// Path of `key` below the folder of its bucket, `/` between names. `own` is what the key has now.
pub fn place(bucket_folder: &Path, key: &str, own: Option<&str>) -> String {
    let readable = escape(key);
    let candidates = own.into_iter().chain(readable.as_deref());
    for path in candidates {
        if is_free(bucket_folder, path, own == Some(path)) {
            return path.to_owned();
        }
    }
    hashed(key)
}

/// None: a name or the whole would be too long.
fn escape(key: &str) -> Option<String> {
    let names: Vec<String> = key.split('/').map(escape_name).collect();
    let fits = names.iter().all(|name| name.len() <= MAX_NAME);
    fits.then(|| names.join("/"))
}

fn escape_name(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let only_dots = name == "." || name == "..";
    // Some file systems drop dots and spaces at the end, and two keys would become one file.
    let kept = name.trim_end_matches(['.', ' ']).len();
    let mut escaped = String::with_capacity(name.len());
    for (at, c) in name.char_indices() {
        if c == '%' || c == '\\' || c.is_control() || only_dots || at >= kept {
            push_escaped(&mut escaped, c);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn push_escaped(text: &mut String, c: char) {
    let mut bytes = [0; 4];
    for byte in c.encode_utf8(&mut bytes).bytes() {
        write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
    }
}

/// Whether an object can be renamed to `path`: no link and no file on the way, and at its end nothing,
/// or the key's own file.
fn is_free(bucket_folder: &Path, path: &str, own: bool) -> bool {
    let target = bucket_folder.join(path);
    if target.as_os_str().len() > MAX_PATH {
        return false;
    }
    let mut folder = bucket_folder.to_path_buf();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        folder.push(name);
        let Ok(found) = fs::symlink_metadata(&folder) else { return true };
        let last = names.peek().is_none();
        let passable = if last { own && found.is_file() } else { found.is_dir() };
        if !passable {
            return false;
        }
    }
    true
}

/// Keeps the end of the key, so that a viewer still sees `.jpg`.
fn hashed(key: &str) -> String {
    let mut name = HASHED.to_owned();
    for byte in &Sha256::digest(key.as_bytes())[..16] {
        write!(name, "{byte:02x}").expect("writing to a String cannot fail");
    }
    let tail = key.rsplit('/').next().unwrap_or_default();
    let cut = tail.char_indices().rev().take(32).last().map_or(0, |(at, _)| at);
    name.push('-');
    name.push_str(&escape_name(&tail[cut..]));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(key: &str) -> String {
        place(Path::new("/nowhere/bucket"), key, None)
    }

    #[test]
    fn ordinary_keys_are_their_own_path() {
        for key in ["photos/2024/a b+c.jpg", "ü/日本/😀.jpg", ".hidden", "a..b/c", ".longshore/x"] {
            assert_eq!(placed(key), key);
        }
    }

    #[test]
    fn parts_that_are_no_file_names_are_escaped_readably() {
        let rows = [
            ("../x", "%2E%2E/x"),
            ("./x", "%2E/x"),
            ("/x", "%_/x"),
            ("x//y.jpg", "x/%_/y.jpg"),
            ("folder/", "folder/%_"),
            ("100%.jpg", "100%25.jpg"),
            ("a\\b", "a%5Cb"),
            ("a\0b\n", "a%00b%0A"),
            ("end. .", "end%2E%20%2E"),
            ("\u{85}", "%C2%85"),
        ];
        for (key, path) in rows {
            assert_eq!(placed(key), path, "{key:?}");
        }
    }

    #[test]
    fn different_keys_have_different_paths() {
        let keys = [
            "a", "a/", "/a", "a//", "%_/a", "a/%_", "%2E", ".", "%252E", "a%20", "a ", "%-0-a", "..",
            "%2E%2E",
        ];
        let paths: std::collections::BTreeSet<String> = keys.iter().map(|key| placed(key)).collect();
        assert_eq!(paths.len(), keys.len(), "{paths:?}");
    }

    #[test]
    fn no_path_leaves_the_folder() {
        for key in ["..", "../../etc/passwd", "/etc/passwd", "a/../../b", "....//", "\0", "a/./..", "\\..\\x"]
        {
            let path = placed(key);
            let safe = path.split('/').all(|name| !name.is_empty() && name != "." && name != "..");
            assert!(safe && !path.contains('\0'), "{key:?} -> {path}");
        }
    }

    #[test]
    fn long_names_are_hashed_and_keep_their_suffix() {
        let path = placed(&format!("{}.jpg", "x".repeat(1000)));
        assert!(path.starts_with("%-") && path.ends_with("x.jpg") && path.len() <= MAX_NAME, "{path}");
        let control = placed(&"\u{1}".repeat(1024));
        assert!(control.len() <= MAX_NAME, "{control}");
        let deep = format!("/nowhere/{}", "d".repeat(MAX_PATH));
        assert!(place(Path::new(&deep), "a.jpg", None).starts_with("%-"));
    }

    #[test]
    fn what_is_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "mine").unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        assert!(place(folder.path(), "a", None).starts_with("%-"), "a file of the user");
        assert!(place(folder.path(), "a/b", None).starts_with("%-"), "a file where a folder should be");
        assert!(place(folder.path(), "d", None).starts_with("%-"), "a folder where a file should be");
        assert_eq!(place(folder.path(), "a", Some("a")), "a", "the key's own file is replaced");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", folder.path().join("link")).unwrap();
        assert!(place(folder.path(), "link/x.jpg", None).starts_with("%-"));
        assert!(place(folder.path(), "link", Some("link")).starts_with("%-"));
    }
}
