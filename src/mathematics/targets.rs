//! Policy evaluation: what the critic is regressed on.
//!
//! Shapes: `[batch, steps]`, one row a sequence of consecutive steps. `discounts` are γ (1 - terminated):
//! a termination stops the bootstrap, a truncation does not.

use burn::tensor::Tensor;

/// TD(0) targets y = r + γ (1 - terminated) V(s') (replication paper, 3.2.2), all `[batch]`. `next_values` is
/// V(s') = mean_j Q'(s', a'_j) over actions sampled from the target policy. With rewards summed over n steps,
/// discounts of γⁿ and the observation n steps on, these are n-step targets.
pub fn td_targets(rewards: Tensor<1>, discounts: Tensor<1>, next_values: Tensor<1>) -> Tensor<1> {
    rewards + discounts * next_values
}

/// The value of any state if every step had the mean reward and the mean discount of these, `[batch]` both: V
/// = r̄ + d̄ V, a tensor of one element. Where nothing is discounted there is no telling, and 1 - d̄ counts
/// as 1e-4.
pub fn mean_value(rewards: Tensor<1>, discounts: Tensor<1>) -> Tensor<1> {
    rewards.mean_dim(0) / (-discounts.mean_dim(0) + 1.0).clamp_min(1e-4)
}

/// n-step targets for every step of a sequence: y_t = r_t + d_t [(1 - λ) V_{t+1} + λ y_{t+1}], unrolled for
/// at most `steps` steps and bootstrapped with `next_values` V_{t+1} where they or the sequence end. λ = 1
/// gives the plain n-step return.
pub fn n_step_targets(
    rewards: Tensor<2>,
    discounts: Tensor<2>,
    next_values: Tensor<2>,
    steps: usize,
    lambda: f64,
) -> Tensor<2> {
    let [batch, length] = rewards.dims();
    let from = |tensor: &Tensor<2>, start: usize| tensor.clone().slice([0..batch, start..length]);
    let mut targets = rewards.clone() + discounts.clone() * next_values.clone();
    for _ in 1..steps.min(length) {
        // The last step has none behind it: its target stays the one-step target.
        let last = from(&targets, length - 1);
        let mixed = from(&targets, 1) * lambda
            + next_values.clone().slice([0..batch, 0..length - 1]) * (1.0 - lambda);
        let head = rewards.clone().slice([0..batch, 0..length - 1])
            + discounts.clone().slice([0..batch, 0..length - 1]) * mixed;
        targets = Tensor::cat(vec![head, last], 1);
    }
    targets
}

/// Retrace targets (replication paper, eq. 11 with the missing γ before the expectation; arXiv 1606.02647):
/// y_t = r_t + d_t [V_{t+1} + c_{t+1} (y_{t+1} - Q'(s_{t+1}, a_{t+1}))], bootstrapped with V at the
/// sequence's end.
///
/// `values` are Q'(s_t, a_t) of the actions taken, `next_values` V_{t+1} = E_π Q'(s_{t+1}, ·), `traces` the
/// c_t of [`retrace_traces`], all `[batch, steps]`.
pub fn retrace_targets(
    rewards: Tensor<2>,
    discounts: Tensor<2>,
    next_values: Tensor<2>,
    values: Tensor<2>,
    traces: Tensor<2>,
) -> Tensor<2> {
    let [batch, length] = rewards.dims();
    let column = |tensor: &Tensor<2>, step: usize| tensor.clone().slice([0..batch, step..step + 1]);
    let one_step = rewards + discounts.clone() * next_values;
    let mut target = column(&one_step, length - 1);
    let mut targets = vec![target.clone()];
    for step in (0..length - 1).rev() {
        let correction = column(&traces, step + 1) * (target - column(&values, step + 1));
        target = column(&one_step, step) + column(&discounts, step) * correction;
        targets.push(target.clone());
    }
    targets.reverse();
    Tensor::cat(targets, 1)
}

/// The cut importance ratios c = λ min(1, π(a|s) / b(a|s)) from the log-probabilities of the actions taken,
/// under the target policy and under the behaviour policy that took them.
pub fn retrace_traces(target: Tensor<2>, behaviour: Tensor<2>, lambda: f64) -> Tensor<2> {
    (target - behaviour).clamp_max(0.0).exp() * lambda
}
