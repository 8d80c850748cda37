//! Directories and files with the modes and owners that matter.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

use super::*;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_is_trusted_by_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("it's");
    assert!(matches!(check_directory(&directory), Err(Exposure::Unknown(e)) if e.kind() == io::ErrorKind::NotFound));
    create_directory(&directory).unwrap();
    for (mode, trusted) in [(0o700, true), (0o755, true), (0o775, false), (0o757, false), (0o1777, true)] {
        set_mode(&directory, mode);
        match check_directory(&directory) {
            Ok(()) => assert!(trusted, "{mode:o}"),
            Err(exposure) => {
                assert!(!trusted, "{mode:o}: {exposure}");
                assert!(exposure.fix().unwrap().starts_with("chmod go-w '/"), "{exposure}");
            }
        }
    }
}

#[test]
fn a_file_is_trusted_by_its_mode_and_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    drop(create_file(&path, true).unwrap());
    let modes = [(0o600, true, true), (0o644, true, false), (0o620, false, false), (0o602, false, false)];
    for (mode, written, read) in modes {
        set_mode(&path, mode);
        assert_eq!(check_file(&path, Forbidden::Write).is_ok(), written, "{mode:o}");
        assert_eq!(check_file(&path, Forbidden::ReadOrWrite).is_ok(), read, "{mode:o}");
        let file = File::open(&path).unwrap();
        assert_eq!(check_open_file(&path, &file, Forbidden::ReadOrWrite).is_ok(), read, "{mode:o}");
    }
    assert!(matches!(check_file(folder.path(), Forbidden::Write), Err(Exposure::NotAFile)));
}

#[test]
fn directories_that_deny_access_are_found_along_the_whole_path() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
    fs::create_dir_all(&inner).unwrap();
    let socket = inner.join("bus.sock");
    let own = rustix::process::geteuid().as_raw();
    let (outer, inner) = (outer.canonicalize().unwrap(), inner.canonicalize().unwrap());
    for (outer_mode, inner_mode, closed) in [
        (0o755, 0o711, vec![]),
        (0o700, 0o711, vec![&outer]),
        (0o711, 0o700, vec![&inner]),
        (0o700, 0o700, vec![&inner, &outer]),
        (0o750, 0o711, vec![]),
    ] {
        set_mode(&outer, outer_mode);
        set_mode(&inner, inner_mode);
        assert_eq!(
            closed_directories(&socket, &[4242], &[]),
            closed.iter().map(|path| (**path).clone()).collect::<Vec<_>>()
        );
        assert_eq!(closed_directories(&socket, &[], &[4242]).len(), closed.len());
        assert_eq!(closed_directories(&socket, &[own], &[]), [""; 0].map(PathBuf::from));
    }
}

#[test]
#[ignore = "needs root: acts as two users"]
fn files_of_another_user_are_not_trusted() {
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let (directory, file) = (folder.path().join("directory"), folder.path().join("file"));
    create_directory(&directory).unwrap();
    drop(create_file(&file, true).unwrap());
    let (to_directory, to_file) = (folder.path().join("to_directory"), folder.path().join("to_file"));
    symlink(&directory, &to_directory).unwrap();
    symlink(&file, &to_file).unwrap();
    let trusted = || [check_directory(&to_directory).is_ok(), check_file(&to_file, Forbidden::Write).is_ok()];
    assert_eq!(trusted(), [true, true]);
    // The owner of a link can change its target.
    lchown(&to_directory, Some(NOBODY), None).unwrap();
    lchown(&to_file, Some(NOBODY), None).unwrap();
    assert_eq!(trusted(), [false, false]);
    lchown(&to_directory, Some(0), None).unwrap();
    lchown(&to_file, Some(0), None).unwrap();
    chown(&directory, Some(NOBODY), None).unwrap();
    chown(&file, Some(NOBODY), None).unwrap();
    assert_eq!(trusted(), [false, false]);
}

#[test]
fn a_tree_is_trusted_if_nobody_else_can_change_or_add_files() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("pages");
    fs::create_dir_all(top.join("sub")).unwrap();
    for file in ["a.html", "sub/b.js", ".hidden"] {
        fs::write(top.join(file), "").unwrap();
        set_mode(&top.join(file), 0o644);
    }
    for directory in [folder.path(), &top, &top.join("sub")] {
        set_mode(directory, 0o755);
    }
    set_mode(&top.join(".hidden"), 0o666);
    symlink("/tmp", top.join("link")).unwrap();
    check_tree(&top).unwrap();
    for (name, mode, usual) in
        [("", 0o1777, 0o755), ("sub", 0o775, 0o755), ("a.html", 0o664, 0o644), ("sub/b.js", 0o646, 0o644)]
    {
        let path = if name.is_empty() { top.clone() } else { top.join(name) };
        set_mode(&path, mode);
        let fix = check_tree(&top).unwrap_err().fix().unwrap();
        assert_eq!(fix, format!("chmod go-w {}", path.canonicalize().unwrap().display()), "{name}");
        set_mode(&path, usual);
    }
    set_mode(folder.path(), 0o777);
    assert!(matches!(check_tree(&top), Err(Exposure::WritableDirectory(_))), "the parent");
    assert!(matches!(check_tree(&top.join("nothing")), Err(Exposure::Unknown(_))));
}

#[test]
fn permissions_for_others_do_not_apply_to_the_group_of_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let directory = folder.path().join("directory");
    fs::create_dir(&directory).unwrap();
    let group = std::os::unix::fs::MetadataExt::gid(&directory.metadata().unwrap());
    for (mode, keeps_out_own, keeps_out_other) in
        [(0o711, false, false), (0o710, false, false), (0o701, true, false), (0o700, true, true)]
    {
        set_mode(&directory, mode);
        let keeps_out = |gid| !closed_directories(&directory.join("bus.sock"), &[], &[gid]).is_empty();
        assert_eq!((keeps_out(group), keeps_out(group + 1)), (keeps_out_own, keeps_out_other), "{mode:o}");
    }
}

#[test]
fn a_directory_that_does_not_exist_cannot_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    sync_directory(folder.path()).unwrap();
    let error = sync_directory(&folder.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
#[ignore = "needs root: acts as two users"]
fn permissions_of_the_owner_apply_to_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o755);
    let directory = folder.path().join("directory");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(4242), None).unwrap();
    for (mode, keeps_out_owner, keeps_out_other) in
        [(0o700, false, true), (0o711, false, false), (0o611, true, false), (0o600, true, true)]
    {
        set_mode(&directory, mode);
        let keeps_out = |uid| !closed_directories(&directory.join("bus.sock"), &[uid], &[]).is_empty();
        let expected = (keeps_out_owner, keeps_out_other, false);
        assert_eq!((keeps_out(4242), keeps_out(4243), keeps_out(0)), expected, "{mode:o}");
    }
}
