//! An installer for .ipk files that keeps to what opkg takes, and takes nothing else: where opkg would quietly install nothing,
//! this one fails.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub time: u64,
    pub is_dir: bool,
    pub content: Vec<u8>,
}

/// A package, taken apart.
#[derive(Debug)]
pub struct Package {
    pub control: BTreeMap<String, String>,
    /// Scripts and conffiles, by name.
    pub scripts: BTreeMap<String, Member>,
    pub data: Vec<Member>,
}

impl Package {
    pub fn read(path: &Path) -> Result<Package, String> {
        let outer = untar(&gunzip(&fs::read(path).map_err(|error| error.to_string())?)?)?;
        let names: Vec<&str> = outer.iter().map(|member| member.name.as_str()).collect();
        if names != ["./debian-binary", "./data.tar.gz", "./control.tar.gz"] {
            return Err(format!("the members are {names:?}"));
        }
        if outer[0].content != b"2.0\n" {
            return Err("debian-binary is not 2.0".into());
        }
        let data = untar(&gunzip(&outer[1].content)?)?;
        let mut scripts = BTreeMap::new();
        for member in untar(&gunzip(&outer[2].content)?)?.into_iter().filter(|member| !member.is_dir) {
            let name = member.name.strip_prefix("./").ok_or("a script's name does not begin with ./")?.to_owned();
            scripts.insert(name, member);
        }
        let control = scripts.get("control").ok_or("there is no control file")?;
        let control = fields(&String::from_utf8(control.content.clone()).map_err(|error| error.to_string())?)?;
        for field in ["Package", "Version", "Architecture", "Description", "Installed-Size"] {
            if !control.contains_key(field) {
                return Err(format!("control has no {field}"));
            }
        }
        if control["Installed-Size"] != outer[1].content.len().to_string() {
            return Err("Installed-Size is not that of data.tar.gz, as the buildroot writes it".into());
        }
        Ok(Package { control, scripts, data })
    }

    /// Puts the files where they belong, as opkg does: a configuration file that somebody has edited stays, and the new one
    /// goes beside it.
    pub fn install(&self, root: &Path, arch: &str) -> Result<(), String> {
        if ![arch, "all", "noarch"].contains(&self.control["Architecture"].as_str()) {
            return Err(format!("incompatible with the architectures configured: {}", self.control["Architecture"]));
        }
        let info = root.join("usr/lib/opkg/info");
        fs::create_dir_all(&info).unwrap();
        let conffiles = self.scripts.get("conffiles").map_or(String::new(), |member| text(&member.content));
        let mut list = String::new();
        for member in &self.data {
            let path = member.name.strip_prefix("./").ok_or("a file's name does not begin with ./")?;
            let mut target = root.join(path);
            if member.is_dir {
                fs::create_dir_all(&target).unwrap();
            } else {
                let is_conffile = conffiles.lines().any(|line| line.strip_prefix('/') == Some(path));
                let shipped = info.join(format!("gatemeter.shipped-{}", path.replace('/', "_")));
                let was_edited = fs::read(&target).is_ok_and(|now| fs::read(&shipped).is_ok_and(|then| now != then));
                if is_conffile && was_edited {
                    target = PathBuf::from(format!("{}-opkg", target.display()));
                }
                if is_conffile {
                    fs::write(&shipped, &member.content).unwrap();
                }
                // A program that runs is replaced, not overwritten.
                let _ = fs::remove_file(&target);
                fs::write(&target, &member.content).unwrap();
                list += &format!("/{path}\n");
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(member.mode)).unwrap();
            chown(&target, Some(member.owner.0), Some(member.owner.1)).unwrap();
        }
        fs::write(info.join("gatemeter.list"), list).unwrap();
        for (name, member) in &self.scripts {
            let path = info.join(format!("gatemeter.{name}"));
            fs::write(&path, &member.content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(member.mode)).unwrap();
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fields(control: &str) -> Result<BTreeMap<String, String>, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in control.lines() {
        if let (Some(more), Some(name)) = (line.strip_prefix(' '), &last) {
            *fields.get_mut(name).unwrap() += &format!("\n{more}");
            continue;
        }
        let (name, value) = line.split_once(": ").ok_or(format!("not a field: {line}"))?;
        fields.insert(name.to_owned(), value.to_owned());
        last = Some(name.to_owned());
    }
    Ok(fields)
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err("it is not gzipped".into());
    }
    if bytes[3] != 0 || bytes[4..8] != [0; 4] {
        return Err("the gzip header has a name or a time, so it would differ from one build to the next".into());
    }
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// Members of a tar archive in GNU's or the ustar format, without extensions of any kind.
fn untar(bytes: &[u8]) -> Result<Vec<Member>, String> {
    let mut members = Vec::new();
    let mut rest = bytes;
    loop {
        let header = rest.get(..512).ok_or("the archive ends without its two empty blocks")?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(members);
        }
        if &header[257..262] != b"ustar" {
            return Err("it is neither GNU's nor a ustar archive".into());
        }
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        if octal(&header[148..156])? != u64::from(sum) {
            return Err("a header's sum is wrong".into());
        }
        let kind = header[156];
        if !matches!(kind, b'0' | 0 | b'5') {
            return Err(format!(
                "a member of type {:?}: opkg installs nothing of an archive with PAX headers",
                kind as char
            ));
        }
        let name = text(&header[..100]).trim_end_matches('\0').to_owned();
        let size = octal(&header[124..136])? as usize;
        let content = rest.get(512..512 + size).ok_or("a member is cut off")?.to_vec();
        members.push(Member {
            name,
            mode: octal(&header[100..108])? as u32,
            owner: (octal(&header[108..116])? as u32, octal(&header[116..124])? as u32),
            time: octal(&header[136..148])?,
            is_dir: kind == b'5',
            content,
        });
        rest = rest.get(512 + size.next_multiple_of(512)..).ok_or("a member is cut off")?;
    }
}

fn octal(field: &[u8]) -> Result<u64, String> {
    let text = text(field);
    let digits = text.trim_matches(['\0', ' ']);
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|error| format!("{digits}: {error}")) }
}
