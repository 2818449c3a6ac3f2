//! The guide: short chapters, each to be read by itself.
//!
//! | to do | read |
//! |---|---|
//! | train in a task of your own | [`first_environment`], [`rewards_and_bounds`] |
//! | see why it does not learn yet | [`metrics`], [`settings`] |
//! | train in Gymnasium, in several environments, on a robot | [`gymnasium`], [`several_and_real_time`] |
//! | train with robots or simulators on several machines | `fleet`, with the feature `distributed` |
//! | run what was trained | [`deployment`] |
//! | take it apart | [`own_parts`], [`mathematics`] |

// What the chapters name, as they name it.
#[cfg(doc)]
use crate::{
    dual::Dual,
    gymnasium::Gymnasium,
    networks::{Ensemble, NetworkConfig, QNetworkConfig, linear},
    observers::*,
    *,
};

#[doc = include_str!("../docs/guide/first_environment.md")]
pub mod first_environment {}

#[doc = include_str!("../docs/guide/rewards_and_bounds.md")]
pub mod rewards_and_bounds {}

#[doc = include_str!("../docs/guide/metrics.md")]
// The picture itself: the chapter's link to it leads nowhere here, and is not seen.
#[doc = include_str!("../docs/guide/values_run_away.svg")]
pub mod metrics {}

#[doc = include_str!("../docs/guide/settings.md")]
pub mod settings {}

#[doc = include_str!("../docs/guide/gymnasium.md")]
pub mod gymnasium {}

#[doc = include_str!("../docs/guide/several_and_real_time.md")]
pub mod several_and_real_time {}

#[cfg(feature = "distributed")]
#[doc = include_str!("../docs/guide/fleet.md")]
pub mod fleet {}

#[doc = include_str!("../docs/guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("../docs/guide/own_parts.md")]
pub mod own_parts {}

#[doc = include_str!("../docs/guide/mathematics.md")]
pub mod mathematics {}
