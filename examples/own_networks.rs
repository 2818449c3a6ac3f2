//! An actor and a critic of one's own, in units of what they learn from.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, activation::relu};
use mpo::networks::{Normalised, PopArt, Rescale, linear, rescaled};
use mpo::{Actor, Critic, Gaussian, MpoAgent, MpoConfig, Rng, Scale, Stream, Trainer, TrainerConfig};

/// One hidden layer, then a mean in [-1, 1] and standard deviations.
#[derive(Module, Debug)]
struct MyActor {
    hidden: Linear,
    mean: Linear,
    log_deviation: Linear,
}

impl Actor for MyActor {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let features = relu(self.hidden.forward(observations));
        let deviation = self.log_deviation.forward(features.clone()).exp() * 0.3;
        Gaussian { mean: self.mean.forward(features).tanh(), scale: Scale::Diagonal(deviation) }
    }

    fn observation_size(&self) -> usize {
        self.hidden.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.mean.weight.dims()[1]
    }
}

/// One hidden layer over observation and action, then the value.
#[derive(Module, Debug)]
struct MyCritic {
    of_observation: Linear,
    of_action: Linear,
    value: Linear,
}

impl Critic for MyCritic {
    fn values(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        let hidden = self.of_observation.forward(observations) + self.of_action.forward(actions);
        self.value.forward(relu(hidden)).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        self.of_observation.weight.dims()[0]
    }

    fn action_size(&self) -> usize {
        self.of_action.weight.dims()[0]
    }
}

impl Rescale for MyCritic {
    fn rescale(self, factor: Tensor<1>, shift: Tensor<1>) -> Self {
        Self { value: rescaled(self.value, factor, shift), ..self }
    }
}

fn main() -> mpo::Result<()> {
    let device = mpo::device(mpo::devices::default_backend())?;
    let mut rng = Rng::stream(1, Stream::Weights);
    let on = device.clone().autodiff();
    let mut layer = |inputs, outputs, gain| linear(inputs, outputs, gain, &on, &mut rng);
    let actor =
        MyActor { hidden: layer(5, 64, 1.0), mean: layer(64, 1, 0.01), log_deviation: layer(64, 1, 0.01) };
    let critic = MyCritic {
        of_observation: layer(5, 64, 1.0),
        of_action: layer(1, 64, 1.0),
        value: layer(64, 1, 0.01),
    };
    let actor = Normalised::new(actor, 5, &device);
    let critic = PopArt::new(Normalised::new(critic, 5, &device), &device);
    let agent = MpoAgent::with_networks(MpoConfig::default(), actor, critic, 1)?;

    let environment = mpo::envs::Cartpole::balance();
    let config = TrainerConfig { environment_steps: 5_000, updates_per_step: 1.0, ..Default::default() };
    println!("{}", Trainer::new(config, agent, environment.clone(), environment)?.run()?);
    Ok(())
}
