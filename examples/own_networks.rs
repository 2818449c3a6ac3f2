//! An actor and a critic of one's own, normalised: as small as they can be, to be read. The default networks,
//! with a layer more and LayerNorm, learn cartpole far sooner.
//!
//! ```text
//! cargo run --release --example own_networks
//! ```

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, activation::relu};
use mpo::networks::{Normalised, PopArt, Rescale, linear, rescaled};
use mpo::{Actor, Critic, Gaussian, MpoAgent, MpoConfig, Rng, Scale, Stream, Trainer, TrainerConfig};

const OBSERVATION: usize = 5;
const ACTION: usize = 1;

/// One hidden layer, then a mean in [-1, 1] and a standard deviation for each component.
#[derive(Module, Debug)]
struct MyActor {
    hidden: Linear,
    output: Linear,
}

impl Actor for MyActor {
    type Distribution = Gaussian;

    fn policy(&self, observations: Tensor<2>) -> Gaussian {
        let outputs = self.output.forward(relu(self.hidden.forward(observations)));
        let [mean, deviation] = outputs.chunk(2, 1).try_into().expect("two halves");
        Gaussian { mean: mean.tanh(), scale: Scale::Diagonal(deviation.exp() * 0.3) }
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
    }
}

/// One hidden layer over observation and action, then the value.
#[derive(Module, Debug)]
struct MyCritic {
    hidden: Linear,
    value: Linear,
}

impl Critic for MyCritic {
    fn values(&self, states: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        self.value.forward(relu(self.hidden.forward(Tensor::cat(vec![states, actions], 1)))).squeeze_dim(1)
    }

    fn observation_size(&self) -> usize {
        OBSERVATION
    }

    fn action_size(&self) -> usize {
        ACTION
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
    let actor = MyActor { hidden: layer(OBSERVATION, 64, 1.0), output: layer(64, 2 * ACTION, 0.01) };
    let critic = MyCritic { hidden: layer(OBSERVATION + ACTION, 64, 1.0), value: layer(64, 1, 0.01) };
    let actor = Normalised::new(actor, OBSERVATION, &device);
    let critic = PopArt::new(Normalised::new(critic, OBSERVATION, &device), &device);
    let agent = MpoAgent::with_networks(MpoConfig::default(), actor, critic, 1)?;

    let environment = mpo::envs::Cartpole::balance();
    let config = TrainerConfig { environment_steps: 5_000, updates_per_step: 1.0, ..Default::default() };
    println!("{}", Trainer::new(config, agent, environment)?.run()?);
    Ok(())
}
