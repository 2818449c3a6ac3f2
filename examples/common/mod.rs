//! What the training examples share: their arguments, a run, what it writes.

mod backend;
mod folder;
mod settings;

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backend::Backend;
use clap::ValueEnum;
use mpo::dual::DualForm;
use mpo::observers::{BestPolicy, EvaluationTable, LearningCurve, MetricsTable, ProgressBar, TensorBoard};
use mpo::{
    Actor, Critic, Device, Environment, Environments, Event, MpoAgent, MpoConfig, Observer, OnnxOptions,
    Progress, Resumed, Summary, Trainer, TrainerConfig, VectorEnvironment,
};
use settings::Setting;

/// The arguments of every training.
#[derive(clap::Args)]
pub struct Arguments {
    /// The seed of all randomness: the same seed on the same backend gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many environment steps to train for, in place of the task's own number.
    #[arg(long)]
    pub env_steps: Option<u64>,
    /// The preset of settings, in place of the example's own.
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// One setting of the preset's, with a value in JSON, as m_step.epsilon_mean=0.01; may be given several
    /// times.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub settings: Vec<Setting>,
    /// How many environments are trained in at once.
    #[arg(long, default_value_t = 1)]
    pub environments: usize,
    /// Ends the run at the first evaluation with at least this mean return, in place of the example's own
    /// goal.
    #[arg(long)]
    pub goal: Option<f64>,
    /// Updates for each environment step, in place of the example's own number: fewer make a run shorter by
    /// the clock, more make it learn in fewer steps.
    #[arg(long)]
    pub updates_per_step: Option<f64>,
    /// What computes.
    #[command(flatten)]
    pub backend: Backend,
    /// The folder for evaluations.csv, metrics.csv, learning_curve.svg, policy.mpo, policy.onnx,
    /// best_policy.mpo (that of the best evaluation) and checkpoints, which must hold none of an earlier
    /// run [default: a folder in runs/, named by the task].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Writes the run's curves for TensorBoard too, into the folder `board` there.
    #[arg(long)]
    pub tensorboard: bool,
    /// Removes an earlier run's files and checkpoints from the folder first, and nothing else.
    #[arg(long)]
    pub overwrite: bool,
    /// Goes on with the run whose folder this is, from its newest checkpoint.
    #[arg(long, conflicts_with_all = ["out", "overwrite"])]
    pub resume: Option<PathBuf>,
    /// The environment steps between two checkpoints.
    #[arg(long, default_value_t = TrainerConfig::default().checkpoint_period)]
    pub checkpoint_period: u64,
}

/// A task's folder, its title in pictures, and how long and how hard it is trained where nobody says.
pub struct Task {
    /// In `runs`, where nobody names another.
    pub folder: String,
    pub title: String,
    pub env_steps: u64,
    pub updates_per_step: f64,
    pub preset: Preset,
    /// The mean return at which it has learnt enough; none to train to the end.
    pub goal: Option<f64>,
}

impl Arguments {
    /// The folder for the run's files.
    pub fn folder(&self, task: &Task) -> PathBuf {
        let folder = self.resume.as_ref().or(self.out.as_ref());
        folder.cloned().unwrap_or_else(|| Path::new("runs").join(&task.folder))
    }
}

/// The process's exit code, with a word on what went wrong.
pub fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Trains an agent that `make` makes, such as [`MpoAgent::of`], shows its progress and writes
/// evaluations.csv, metrics.csv, learning_curve.svg, policy.mpo, policy.onnx, best_policy.mpo and
/// checkpoints. Ctrl-C ends the run with a checkpoint.
#[allow(dead_code)] // Each example calls this one or the next.
pub fn train<E: Environment + Clone + Send, A: Actor, C: Critic>(
    task: &Task,
    environment: E,
    arguments: &Arguments,
    make: impl FnOnce(MpoConfig, &E, &Device, u64) -> mpo::Result<MpoAgent<A, C>>,
) -> Result<(MpoAgent<A, C>, Summary), Box<dyn Error>> {
    train_as(task, environment, arguments, make, Ok)
}

/// The same, by a trainer that `prepare` has made ready.
pub fn train_as<E: Environment + Clone + Send, A: Actor, C: Critic>(
    task: &Task,
    environment: E,
    arguments: &Arguments,
    make: impl FnOnce(MpoConfig, &E, &Device, u64) -> mpo::Result<MpoAgent<A, C>>,
    prepare: impl FnOnce(Trainer<Environments<E>, A, C>) -> mpo::Result<Trainer<Environments<E>, A, C>>,
) -> Result<(MpoAgent<A, C>, Summary), Box<dyn Error>> {
    let folder = arguments.folder(task);
    let config = settings::with(arguments.preset.unwrap_or(task.preset).config(), &arguments.settings)?;
    let agent = make(config, &environment, &arguments.backend.device, arguments.seed)?;
    let environment_steps = arguments.env_steps.unwrap_or(task.env_steps);
    let trainer_config = TrainerConfig {
        environment_steps,
        updates_per_step: arguments.updates_per_step.unwrap_or(task.updates_per_step),
        // 40 evaluations at most: of ten episodes each, more would take a third of a long run.
        evaluation_period: (environment_steps / 40).max(1000),
        evaluation_episodes: 10,
        checkpoint_period: arguments.checkpoint_period,
        seed: arguments.seed,
        ..TrainerConfig::default()
    };
    let environments = Environments::new(vec![environment.clone(); arguments.environments])?;
    let evaluated_in = Environments::new(vec![environment])?;
    let trainer = Trainer::new(trainer_config, agent, environments)?.evaluate_in(evaluated_in)?;
    let trainer = prepare(trainer)?;
    match arguments.resume {
        Some(_) if !folder.is_dir() => {
            return Err(format!("--resume: there is no folder {}", folder.display()).into());
        }
        Some(_) => {}
        None => folder::prepare(&folder, arguments.overwrite)?,
    }
    let mut trainer = trainer.save_into(folder.join("checkpoints"));
    let resumed = resume(&mut trainer, arguments)?;
    let mut trainer = trainer
        .observe(ProgressBar::new())
        .observe(EvaluationTable::resume(folder.join("evaluations.csv"), &resumed)?)
        .observe(MetricsTable::resume(folder.join("metrics.csv"), &resumed)?)
        .observe(LearningCurve::resume(folder.join("learning_curve.svg"), &task.title))
        .observe(BestPolicy::resume(folder.join("best_policy.mpo")))
        .observe(stop_at(arguments.goal.or(task.goal)))
        .observe(warn_of_failed_saves)
        .observe(stop_on_ctrl_c()?);
    if arguments.tensorboard {
        trainer = trainer.observe(TensorBoard::resume(folder.join(folder::BOARD), &resumed)?);
    }
    let summary = trainer.run()?;
    let policy = trainer.agent().policy();
    policy.save(folder.join("policy.mpo"))?;
    let options = OnnxOptions { task: task.title.clone(), distribution: true };
    if let Err(error) = policy.export_onnx_with(folder.join("policy.onnx"), &options) {
        eprintln!("no policy.onnx: {error}");
    }
    println!("learning curve: {}", folder.join("learning_curve.svg").display());
    Ok((trainer.into_agent(), summary))
}

/// Goes on with an earlier run where the arguments say so, and tells of it.
fn resume<E: VectorEnvironment, A: Actor, C: Critic>(
    trainer: &mut Trainer<E, A, C>,
    arguments: &Arguments,
) -> mpo::Result<Resumed> {
    if arguments.resume.is_none() {
        return Ok(Resumed::default());
    }
    let resumed = trainer.resume()?;
    for error in &resumed.damaged {
        eprintln!("a checkpoint was set aside: {error}");
    }
    match &resumed.checkpoint {
        Some(path) => eprintln!("resumed from {}", path.display()),
        None => eprintln!("there is no checkpoint yet: the run starts afresh"),
    }
    Ok(resumed)
}

/// Ends the run at the first evaluation that reaches the goal.
fn stop_at(goal: Option<f64>) -> impl Observer {
    move |event: &Event, _: &Progress<'_>| match (event, goal) {
        (Event::Evaluation(evaluation), Some(goal)) if evaluation.mean_return >= goal => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    }
}

/// Says that a checkpoint could not be written, while there is time to make room.
fn warn_of_failed_saves(event: &Event, _: &Progress<'_>) -> ControlFlow<()> {
    if let Event::SaveFailed { cause } = event {
        eprintln!("no checkpoint, another try follows: {cause}");
    }
    ControlFlow::Continue(())
}

/// Ends the run after the first Ctrl-C, and the process at the second.
fn stop_on_ctrl_c() -> Result<impl Observer, ctrlc::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("saving a checkpoint; Ctrl-C again ends at once");
    })?;
    Ok(move |_: &Event, _: &Progress<'_>| match stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
}

/// The presets that the examples offer.
#[derive(Clone, Copy, ValueEnum)]
pub enum Preset {
    /// The replication paper's Table 1.
    Paper,
    /// Table 1 with the dual as eq. 8 prints it, for figure 5.
    PaperUnstable,
    /// The modern preset.
    Default,
    /// The modern preset, whose exploration also drives actions to the ends of their range: for simulations
    /// alone.
    Simulation,
    /// The modern preset for actions that are choices, with the simulation preset's exploration.
    Discrete,
    /// The modern preset with the parametric E-step.
    Parametric,
}

impl Preset {
    fn config(self) -> MpoConfig {
        match self {
            Self::Paper => MpoConfig::paper(),
            Self::PaperUnstable => {
                let mut config = MpoConfig::paper();
                config.e_step.form = DualForm::Unstable;
                config
            }
            Self::Default => MpoConfig::default(),
            Self::Simulation => MpoConfig::simulation(),
            Self::Discrete => {
                MpoConfig { exploration: MpoConfig::simulation().exploration, ..MpoConfig::discrete() }
            }
            Self::Parametric => MpoConfig::parametric(),
        }
    }
}
