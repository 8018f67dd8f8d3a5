//! One walk on the interfaces there are: finds them, opens them, walks, and says what became of each.

use std::time::Instant;

use super::codec::Question;
use super::port::{self, Port};
use super::settings::Settings;
use super::walk::{Rules, Walk};
use crate::collectors::interfaces;
use crate::error::{Error, Result};
use crate::lan::Interfaces;
use crate::names::Mac;
use crate::netlink::route::Link;
use crate::netlink::rtnetlink::Subject;

/// What a walk has found.
#[derive(Debug)]
pub struct Survey {
    /// The walk, which is over.
    pub walk: Walk,
    /// The interfaces that were to be asked on.
    pub interfaces: Vec<Asked>,
}

/// An interface that was to be asked on.
#[derive(Debug)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// Its number in the walk, if it took part.
    pub number: Option<usize>,
    /// Why it took no part, or not to the end.
    pub trouble: Option<Error>,
    /// Answers that were not looked at.
    pub dropped: u64,
}

impl Survey {
    /// Whether any adapter answered on an interface.
    pub fn is_up(&self, interface: &Asked) -> bool {
        let mut devices = self.walk.devices.iter();
        interface.number.is_some_and(|number| devices.any(|device| device.interface == number && device.is_up()))
    }
}

/// Makes a walk, under [`alarm::block_on`](crate::sys::alarm::block_on).
///
/// # Errors
/// No interface could be asked on; the reason of the first.
pub async fn survey(
    settings: &Settings,
    buf: &mut [u8],
    remembered: &dyn Fn(Mac) -> Option<Question>,
) -> Result<Survey> {
    let table = interfaces::of(&[Subject::Links]).await?;
    let names = match settings.interfaces.is_empty() {
        true => vec![first(&table)?.name.clone()],
        false => settings.interfaces.clone(),
    };
    let (mut ports, mut interfaces) = (Vec::new(), Vec::new());
    for name in names {
        let (number, trouble) = match usable(&table, &name).and_then(|link| Port::open(&name, link.ifindex)) {
            Ok(port) => {
                ports.push(port);
                (Some(ports.len() - 1), None)
            }
            Err(error) => (None, Some(error)),
        };
        interfaces.push(Asked { name, number, trouble, dropped: 0 });
    }
    let Settings { destination, extended, max_devices, .. } = *settings;
    let mut walk = Walk::new(Rules { destination, extended, max_devices }, ports.len(), Instant::now());
    if !ports.is_empty() {
        port::walk(&mut ports, &mut walk, buf, remembered).await;
    }
    for interface in &mut interfaces {
        if let Some(port) = interface.number.and_then(|number| ports.get_mut(number)) {
            interface.dropped = port.dropped();
            interface.trouble = port.trouble.take();
        }
    }
    // One that failed half-way has told what it has told.
    let mut survey = Survey { walk, interfaces };
    let failed = |asked: &Asked| asked.trouble.is_some() && !survey.is_up(asked);
    if survey.interfaces.iter().all(failed)
        && let Some(error) = survey.interfaces.iter_mut().find_map(|asked| asked.trouble.take())
    {
        return Err(error);
    }
    Ok(survey)
}

/// The first interface, by index, that an adapter may be plugged into.
fn first(table: &Interfaces) -> Result<&Link> {
    table.links().find(|link| link.up && link.ethernet && !link.loopback).ok_or_else(|| {
        Error::failed("ask powerline adapters", "there is no Ethernet interface that is up")
            .remedy("connect the adapter, or name its interface, as in -o homeplug.interface=eth0")
    })
}

/// The interface of a name, if adapters can be asked on it.
fn usable<'a>(table: &'a Interfaces, name: &str) -> Result<&'a Link> {
    let Some(link) = table.by_name(name) else {
        let known: Vec<&str> = table.links().filter(|link| link.ethernet).map(|link| link.name.as_str()).collect();
        let known = if known.is_empty() { "no Ethernet interface".to_owned() } else { known.join(", ") };
        return Err(Error::failed(format!("ask powerline adapters on {name}"), "there is no such interface")
            .remedy(format!("this system has {known}")));
    };
    if !link.ethernet || link.loopback {
        return Err(port::no_ethernet(name));
    }
    if !link.up {
        return Err(port::down(name));
    }
    Ok(link)
}
