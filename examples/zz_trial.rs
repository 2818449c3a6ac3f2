use burn::tensor::Device;
use mpo::envs::Cartpole;
use mpo::observers::{EvaluationTable, MetricsTable};
use mpo::*;
#[global_allocator]
static G: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn merge(a: &mut serde_json::Value, b: serde_json::Value) {
    match (a, b) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            for (k, v) in b {
                merge(a.entry(k).or_insert(serde_json::Value::Null), v)
            }
        }
        (a, b) => *a = b,
    }
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (out, seed, steps) = (&args[1], args[2].parse::<u64>().unwrap(), args[3].parse::<u64>().unwrap());
    let mut c = serde_json::to_value(MpoConfig::default()).unwrap();
    let mut t = TrainerConfig { environment_steps: steps, seed, ..Default::default() };
    if let Some(j) = args.get(4) {
        merge(&mut c, serde_json::from_str(j).unwrap());
    }
    if let Some(r) = args.get(5) {
        t.updates_per_step = r.parse().unwrap();
    }
    let c: MpoConfig = serde_json::from_value(c).unwrap();
    std::fs::create_dir_all(out).unwrap();
    let agent = MpoAgent::new(c, 5, 1, &Device::flex(), seed).unwrap();
    let (e1, e2) = if std::env::var("ZZ_SWING").is_ok() {
        (Cartpole::swingup(), Cartpole::swingup())
    } else {
        (Cartpole::balance(), Cartpole::balance())
    };
    let mut tr = Trainer::new(t, agent, e1, e2)
        .unwrap()
        .observe(EvaluationTable::create(format!("{out}/evaluations.csv")).unwrap())
        .observe(MetricsTable::create(format!("{out}/metrics.csv")).unwrap());
    println!("{}", tr.run().unwrap());
}
