//! Virtual machines: `vm/info`, `vm`.

use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of};

/// Read every five minutes at most.
pub static GROUP: Group = Group {
    name: "vm",
    always: false,
    pace: 300,
    right: Some("vm"),
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["vm/info/", "vm/"],
    more: nothing_more,
    records,
};

const HOST: Kind = Kind::VmHost;
const OF: Kind = Kind::Vm;
const VM: &[&str] = &["vm", "name"];
const VM_OF: &[&str] = &["id", "name"];

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_vm_host_memory_bytes", &[], "Memory there is for virtual machines, in bytes."),
        &[of(HOST, "total_memory*1048576", Make::Known, &[])],
    ),
    family(
        gauge("freebox_vm_host_memory_used_bytes", &[], "Memory that virtual machines use, in bytes."),
        &[of(HOST, "used_memory*1048576", Make::Known, &[])],
    ),
    family(
        gauge("freebox_vm_host_cpus", &[], "Processors there are for virtual machines."),
        &[of(HOST, "total_cpus", Make::Known, &[])],
    ),
    family(
        gauge("freebox_vm_host_cpus_used", &[], "Processors that virtual machines use."),
        &[of(HOST, "used_cpus", Make::Known, &[])],
    ),
    family(
        gauge("freebox_vm_host_usb_used", &[], "Whether a virtual machine uses USB (1) or not (0)."),
        &[of(HOST, "usb_used", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_vm_host_usb_ports", &[], "USB ports there are for virtual machines."),
        &[of(HOST, "usb_ports", Make::Count, &[])],
    ),
    family(
        gauge("freebox_vm_running", VM, "Whether a virtual machine is running (1) or not (0)."),
        &[of(OF, "status", Make::Is("running"), VM_OF)],
    ),
    family(
        gauge("freebox_vm_memory_bytes", VM, "Memory of a virtual machine, in bytes."),
        &[of(OF, "memory*1048576", Make::Known, VM_OF)],
    ),
    family(gauge("freebox_vm_vcpus", VM, "Processors of a virtual machine."), &[of(OF, "vcpus", Make::Known, VM_OF)]),
    family(
        gauge("freebox_vm_screen_enabled", VM, "Whether a virtual machine has a screen (1) or not (0)."),
        &[of(OF, "enable_screen", Make::Flag, VM_OF)],
    ),
    family(
        gauge("freebox_vm_cloudinit_enabled", VM, "Whether a virtual machine is set up by cloud-init (1) or not (0)."),
        &[of(OF, "enable_cloudinit", Make::Flag, VM_OF)],
    ),
    family(
        gauge("freebox_vm_usb_ports", VM, "USB ports that a virtual machine may use."),
        &[of(OF, "bind_usb_ports", Make::Count, VM_OF)],
    ),
    family(
        info("freebox_vm_info", &["vm", "name", "os", "mac", "status", "disk", "cd"], "What a virtual machine is."),
        &[of(OF, "", Make::One, &["id", "name", "os", "mac", "status", "@0", "@1"])],
    ),
];

static FORMS: &[Form] = &[
    Form {
        of: HOST,
        measure: "virtualmachine",
        tags: &[],
        rows: &[
            ("total_memory", "total_memory", Make::Number),
            ("used_memory", "used_memory", Make::Number),
            ("total_cpus", "total_cpus", Make::Number),
            ("usb_ports_count", "usb_ports", Make::Count),
            ("usb_used", "usb_used", Make::Flag),
        ],
    },
    Form {
        of: OF,
        measure: "virtualmachine",
        tags: &[
            ("vm", "id", Make::Text),
            ("vm_name", "name", Make::Text),
            ("vm_disk_path", "disk_path", Make::Base64("none")),
            ("vm_disk_type", "disk_type", Make::Text),
            ("vm_cd_path", "cd_path", Make::Base64("none")),
            ("vm_cloudinit_hostname", "cloudinit_hostname", Make::Text),
            ("vm_mac", "mac", Make::Text),
            ("vm_os", "os", Make::Text),
        ],
        rows: &[
            ("vm_status", "status", Make::Is("running")),
            ("vm_memory", "memory", Make::Number),
            ("vm_vcpus", "vcpus", Make::Number),
            ("vm_enable_screen", "enable_screen", Make::Flag),
            ("vm_bind_usb_ports_count", "bind_usb_ports", Make::Count),
            ("vm_enable_cloudinit", "enable_cloudinit", Make::Flag),
        ],
    },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    out.extend(replies.result(0).map(|host| Record::of(HOST, host)));
    out.extend(replies.items(1).map(|vm| {
        let mut record = Record::of(OF, vm);
        for (word, path) in record.words.iter_mut().zip(["disk_path", "cd_path"]) {
            let text = vm.at(path).and_then(|path| path.text());
            *word = text.and_then(|text| super::super::fold::base64(&text)).unwrap_or_default().into();
        }
        record
    }));
}
