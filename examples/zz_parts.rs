use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use mpo::networks::*;
use mpo::*;
use std::time::Instant;
#[cfg(feature = "mi")]
#[global_allocator]
static G: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn t(name: &str, n: usize, mut f: impl FnMut()) {
    for _ in 0..5 {
        f();
    }
    let mut v = vec![];
    for _ in 0..n {
        let s = Instant::now();
        f();
        v.push(s.elapsed().as_secs_f64() * 1e6);
    }
    v.sort_by(f64::total_cmp);
    println!("{name:30} median {:9.1} us  p10 {:9.1}", v[n / 2], v[n / 10]);
}
fn main() {
    let d = Device::flex();
    if std::env::var("ZZ_M").is_ok() {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(30 << 20)));
    }
    for (name, mut cfg) in [
        ("default", MpoConfig::default()),
        ("relu+ln", {
            let mut c = MpoConfig::default();
            c.critic.activation = Activation::Relu;
            c.actor.network.activation = Activation::Relu;
            c
        }),
        ("relu-noln", {
            let mut c = MpoConfig::default();
            c.critic.activation = Activation::Relu;
            c.actor.network.activation = Activation::Relu;
            c.critic.layer_norm = false;
            c.actor.network.layer_norm = false;
            c
        }),
    ] {
        println!("== {name}");
        cfg.sampled_actions = 20;
        let mut agent = MpoAgent::new(cfg.clone(), 17, 6, &d, 1).unwrap();
        let mut rng = Rng::stream(1, Stream::Replay);
        let mut replay = ReplayBuffer::new(100000, 17, 6).unwrap();
        for _ in 0..20 {
            replay.begin_episode(&rng.normals(17)).unwrap();
            for k in 0..1000 {
                let a = rng.normals(6);
                let o = rng.normals(17);
                replay
                    .push(Experience {
                        action: &a,
                        log_probability: 0.0,
                        reward: rng.normal() as f32,
                        next_observation: &o,
                        terminated: false,
                        truncated: k == 999,
                    })
                    .unwrap();
            }
        }
        let obs = Tensor::<2>::from_data(burn::tensor::TensorData::new(rng.normals(256 * 17), [256, 17]), &d);
        let acts = Tensor::<3>::from_data(
            burn::tensor::TensorData::new(rng.normals(256 * 20 * 6), [256, 20, 6]),
            &d,
        );
        let critic = agent.critic().valid();
        let actor = agent.actor().valid();
        t("sampled_values 256x20", 100, || {
            let _ = sampled_values(&critic, obs.clone(), acts.clone());
        });
        t("values_of_samples 256x20", 100, || {
            let _ = critic.values_of_samples(obs.clone(), acts.clone());
        });
        t("actor.policy 256", 100, || {
            let _ = actor.policy(obs.clone());
        });
        t("normals 256*20*6", 100, || {
            let _ = rng.normals(256 * 20 * 6);
        });
        let q = sampled_values(&critic, obs.clone(), acts.clone());
        let mut e = EStep::new(EStepConfig::default()).unwrap();
        t("estep", 100, || {
            let _ = e.solve(q.clone()).unwrap();
        });
        let mut m = MStep::new(cfg.m_step.clone(), 6, &d).unwrap();
        let old = actor.policy(obs.clone());
        let w = e.solve(q.clone()).unwrap().weights;
        let mut a2 = agent.actor().clone();
        t("mstep", 100, || {
            a2 = m.improve(a2.clone(), obs.clone(), &old, acts.clone(), w.clone()).unwrap().0;
        });
        let mut opt = Optimizer::new(cfg.critic_optimizer.clone()).unwrap();
        let mut c2 = agent.critic().clone();
        let a1 = acts.clone().slice([0..256, 0..1, 0..6]).squeeze_dim::<2>(1);
        let y = Tensor::<1>::random([256], Distribution::Default, &d);
        t("critic step", 100, || {
            let l = targets::CriticLoss::Squared.loss(
                c2.values(Tensor::from_inner(obs.clone()), Tensor::from_inner(a1.clone())),
                Tensor::from_inner(y.clone()),
            );
            c2 = opt.step(c2.clone(), l);
        });
        t("sample", 100, || {
            let _ = agent.sample(&replay, &mut rng).unwrap();
        });
        t("act", 200, || {
            let _ = agent.act(&[0.1; 17]).unwrap();
        });
        t("mean_action", 200, || {
            let _ = agent.mean_action(&[0.1; 17]).unwrap();
        });
        let b = agent.sample(&replay, &mut rng).unwrap();
        t("update", 100, || {
            let _ = agent.update(&b).unwrap();
        });
    }
}
