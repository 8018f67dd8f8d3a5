//! The interface table as it is now, for every collector that needs to know the LAN.

use crate::error::Result;
use crate::lan::Interfaces;
use crate::netlink::rtnetlink::{Subject, list};

/// All interfaces, addresses and default routes there are now. Whoever follows their changes subscribes first.
pub async fn now() -> Result<Interfaces> {
    of(&[Subject::Links, Subject::Addresses, Subject::Routes]).await
}

/// Those parts of the table that are asked for.
pub async fn of(subjects: &[Subject]) -> Result<Interfaces> {
    let mut interfaces = Interfaces::default();
    for subject in subjects {
        list(*subject, |event| _ = interfaces.apply(event)).await?;
    }
    Ok(interfaces)
}
