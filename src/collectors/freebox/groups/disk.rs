//! Disks and their partitions: `storage/disk`.

use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, counter, family, gauge, info, nothing_more, of};

/// Read every five minutes at most: the box may have to ask the disks.
pub static GROUP: Group = Group {
    name: "disk",
    always: false,
    pace: 300,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["storage/disk/"],
    more: nothing_more,
    records,
};

const OF: Kind = Kind::Disk;
const DISK: &[&str] = &["disk"];
const DISK_OF: &[&str] = &["id"];
const PARTITION: &[&str] = &["disk", "partition", "label", "fstype"];
const PARTITION_OF: &[&str] = &["^id", "id", "label", "fstype"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_disk_temp_celsius", DISK, "Temperature of a disk, in degrees Celsius."),
        &[of(OF, "temp", Make::Number, DISK_OF)],
    ),
    family(
        gauge("freebox_disk_size_bytes", DISK, "Size of a disk, in bytes."),
        &[of(OF, "total_bytes", Make::Known, DISK_OF)],
    ),
    family(
        gauge("freebox_disk_idle", DISK, "Whether a disk is idle (1) or not (0)."),
        &[of(OF, "idle", Make::Flag, DISK_OF)],
    ),
    family(
        gauge("freebox_disk_state_code", DISK, "State of a disk: 0 disabled or formatting, 1 enabled, 99 error."),
        &[of(OF, "state", STATE, DISK_OF)],
    ),
    family(
        counter("freebox_disk_write_errors_total", DISK, "Writes to a disk that failed."),
        &[of(OF, "write_error_requests", Make::Known, DISK_OF)],
    ),
    family(
        counter("freebox_disk_read_errors_total", DISK, "Reads of a disk that failed."),
        &[of(OF, "read_error_requests", Make::Known, DISK_OF)],
    ),
    family(
        info("freebox_disk_info", &["disk", "type", "state", "model", "serial", "table"], "What a disk is."),
        &[of(OF, "", Make::One, &["id", "type", "state", "model", "serial", "table_type"])],
    ),
    family(
        gauge("freebox_filesystem_size_bytes", PARTITION, "Size of a file system, in bytes."),
        &[of(Kind::Partition, "total_bytes", Make::Known, PARTITION_OF)],
    ),
    family(
        gauge("freebox_filesystem_used_bytes", PARTITION, "Used space of a file system, in bytes."),
        &[of(Kind::Partition, "used_bytes", Make::Known, PARTITION_OF)],
    ),
    family(
        gauge("freebox_filesystem_free_bytes", PARTITION, "Free space of a file system, in bytes."),
        &[of(Kind::Partition, "free_bytes", Make::Known, PARTITION_OF)],
    ),
];

const STATE: Make = Make::Code(&[("enabled", 1), ("error", 99)], 0);

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "storage",
        tags: &[
            ("hdd", "id", Make::Text),
            ("hdd_type", "type", Make::Text),
            ("hdd_model", "model", Make::Text),
            ("hdd_serial", "serial", Make::Text),
            ("hdd_table_type", "table_type", Make::Text),
        ],
        rows: &[
            ("disk_temp", "temp", Make::Number),
            ("disk_total_bytes", "total_bytes", Make::Number),
            ("disk_idle", "idle", Make::Flag),
            ("disk_state", "state", STATE),
            ("disk_write_error", "write_error_requests|=0", Make::Number),
        ],
    },
    Form {
        of: Kind::Partition,
        measure: "storage",
        tags: &[
            ("hdd", "^id", Make::Text),
            ("hdd_type", "^type", Make::Text),
            ("partition", "id", Make::Text),
            ("partition_label", "label", Make::Text),
            ("partition_fstype", "fstype", Make::Text),
            ("partition_state", "state", Make::Text),
            ("partition_path", "path", Make::Base64("unknown")),
        ],
        rows: &[
            ("diskfs_total_bytes", "total_bytes", Make::Number),
            ("diskfs_used_bytes", "used_bytes", Make::Number),
            ("diskfs_free_bytes", "free_bytes", Make::Number),
        ],
    },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    for disk in replies.items(0) {
        out.push(Record::of(OF, disk));
        let partitions = disk.at("partitions").into_iter().flat_map(|list| list.items());
        out.extend(partitions.map(|partition| Record::of(Kind::Partition, partition).in_parent(Some(disk))));
    }
}
