//! The least time that an update can take: its matrix products, at the rate that the machine reaches at them.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use mpo::{Batch, ImproveAt, MpoConfig};

/// The floating-point operations of an update's matrix products, a multiplication and an addition each.
pub fn operations(config: &MpoConfig, batch: &Batch, action: usize, outputs: usize) -> mpo::Result<f64> {
    let [rows, observation] = batch.observations.dims();
    // The states whose actions are sampled, and valued.
    let evaluated = match config.improve_at {
        ImproveAt::States => 2 * rows,
        _ => batch.evaluated()?.dims()[0],
    };
    let (critic, actor) = (&config.critic.network.hidden, &config.actor.network.hidden);
    let behind_first = |hidden: &[usize], outputs: usize| -> usize {
        let layers = hidden.windows(2).map(|pair| pair[0] * pair[1]);
        layers.sum::<usize>() + hidden.last().map_or(0, |last| last * outputs)
    };
    let [critic_behind, actor_behind] = [behind_first(critic, 1), behind_first(actor, outputs)];
    let values = evaluated * critic[0] * observation
        + evaluated * config.sampled_actions * (critic[0] * action + critic_behind);
    let policies = evaluated * (actor[0] * observation + actor_behind);
    // Forth, and back to the weights and to what came before, which nobody asks of the first layer.
    let regression = rows * (2 * critic[0] * (observation + action) + 3 * critic_behind);
    let improvement = config.m_step.iterations * rows * (2 * actor[0] * observation + 3 * actor_behind);
    Ok(2.0 * (values + policies + regression + improvement) as f64)
}

/// The rate of Burn's product of two square matrices on `device`, in operations a second: the median of several.
pub fn rate(device: &Device) -> Result<f64, Box<dyn std::error::Error>> {
    const SIZE: usize = 1024;
    let [left, right] =
        [(); 2].map(|()| Tensor::<2>::random([SIZE, SIZE], Distribution::Uniform(-1.0, 1.0), device));
    let mut times = Vec::new();
    for _ in 0..25 {
        let start = Instant::now();
        std::hint::black_box(left.clone().matmul(right.clone()));
        device.sync()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(2.0 * (SIZE as f64).powi(3) / times[times.len() / 2])
}
