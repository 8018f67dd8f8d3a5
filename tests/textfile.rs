//! Text files on file systems that refuse: each case has a small tmpfs of its own in a mount namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed assumption stops the test")]

#[path = "support/tmpfs.rs"]
mod tmpfs;

use std::fs;
use std::path::Path;

use gatemeter::outputs::textfile::TextFile;
use tmpfs::on_small_tmpfs;

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A page of one character, offered to be taken out after each.
fn page(character: char, length: usize) -> impl FnOnce(&mut String, &mut dyn FnMut(&mut String)) {
    move |text, take_out| {
        for _ in 0..length {
            text.push(character);
            take_out(text);
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_page_and_nothing_else() {
    let Some(dir) = on_small_tmpfs("a_full_disk_leaves_the_old_page_and_nothing_else", "true") else { return };
    let mut file = TextFile::new(dir.join("a.prom")).unwrap();
    file.write(page('1', 16_000)).unwrap();
    let error = file.write(page('2', 200_000)).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot write the page /mnt/a.prom: No space left on device (os error 28); free some space in /mnt"
    );
    assert_eq!(fs::read(dir.join("a.prom")).unwrap(), [b'1'; 16_000]);
    assert_eq!(names(&dir), ["a.prom"]);
    file.write(page('3', 16_000)).unwrap();
    assert_eq!(fs::read(dir.join("a.prom")).unwrap(), [b'3'; 16_000]);
}

#[test]
fn a_read_only_disk_is_named_with_a_way_out() {
    let name = "a_read_only_disk_is_named_with_a_way_out";
    let Some(dir) = on_small_tmpfs(name, "mount -o remount,ro /mnt") else { return };
    let error = TextFile::new(dir.join("a.prom")).unwrap().write(page('1', 4)).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot write the page /mnt/a.prom: Read-only file system (os error 30); \
         /mnt cannot be written, give a path on a tmpfs such as /tmp"
    );
}

#[test]
fn a_strangers_link_to_a_device_is_replaced_and_not_followed() {
    let name = "a_strangers_link_to_a_device_is_replaced_and_not_followed";
    let prepare = "setpriv --reuid 65534 --clear-groups ln -s /dev/full /mnt/a.prom";
    let Some(dir) = on_small_tmpfs(name, prepare) else { return };
    TextFile::new(dir.join("a.prom")).unwrap().write(page('1', 4)).unwrap();
    assert!(fs::symlink_metadata(dir.join("a.prom")).unwrap().is_file());
}

#[test]
fn the_page_is_for_everyone_whatever_the_umask() {
    use std::os::unix::fs::MetadataExt;

    let Some(dir) = on_small_tmpfs("the_page_is_for_everyone_whatever_the_umask", "umask 077") else { return };
    TextFile::new(dir.join("a.prom")).unwrap().write(page('1', 4)).unwrap();
    assert_eq!(fs::metadata(dir.join("a.prom")).unwrap().mode() & 0o7777, 0o644);
}
