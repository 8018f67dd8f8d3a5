//! The interface table as it is now, for every collector that needs to know the LAN.

use crate::error::Result;
use crate::lan::Interfaces;
use crate::netlink::socket::{Subject, list};

/// All interfaces, addresses and default routes there are now. Whoever follows their changes subscribes first.
pub async fn now() -> Result<Interfaces> {
    let mut interfaces = Interfaces::default();
    for subject in [Subject::Links, Subject::Addresses, Subject::Routes] {
        list(subject, |event| _ = interfaces.apply(event)).await?;
    }
    Ok(interfaces)
}
