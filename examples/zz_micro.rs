use burn::tensor::{Device, Distribution, Tensor, activation};
use std::time::Instant;
fn t(name: &str, mut f: impl FnMut()) {
    for _ in 0..5 {
        f();
    }
    let n = 100;
    let s = Instant::now();
    for _ in 0..n {
        f();
    }
    println!("{name:30} {:9.1} us", s.elapsed().as_secs_f64() * 1e6 / n as f64);
}
fn main() {
    let d = Device::flex();
    let x = Tensor::<2>::random([512, 256], Distribution::Normal(0.0, 1.0), &d);
    let x3 = Tensor::<2>::random([2048, 256], Distribution::Normal(0.0, 1.0), &d);
    let w = Tensor::<2>::random([256, 256], Distribution::Normal(0.0, 0.1), &d);
    let b = Tensor::<1>::random([256], Distribution::Normal(0.0, 0.1), &d);
    t("matmul512", || {
        let _ = x.clone().matmul(w.clone());
    });
    t("matmul2048", || {
        let _ = x3.clone().matmul(w.clone());
    });
    t("linear512", || {
        let _ = burn::tensor::module::linear(x.clone(), w.clone(), Some(b.clone()));
    });
    t("relu512", || {
        let _ = activation::relu(x.clone());
    });
    t("exp512", || {
        let _ = x.clone().exp();
    });
    t("tanh512", || {
        let _ = x.clone().tanh();
    });
    t("sigmoid512", || {
        let _ = activation::sigmoid(x.clone());
    });
    t("elu512", || {
        let _ = activation::elu(x.clone(), 1.0);
    });
    t("ln512", || {
        let _ = burn::tensor::module::layer_norm(x.clone(), b.clone(), Some(b.clone()), 1e-5);
    });
    t("mul512", || {
        let _ = x.clone() * x.clone();
    });
    t("addbias512", || {
        let _ = x.clone() + b.clone().unsqueeze();
    });
    t("clamp512", || {
        let _ = x.clone().clamp(-1.0, 1.0);
    });
    t("clone relu inplace", || {
        let _ = activation::relu(x.clone().mul_scalar(1.0));
    });
    for (bt, n, m) in [(256, 6, 64), (256, 6, 6), (256, 6, 20)] {
        let a = Tensor::<3>::random([bt, n, m], Distribution::Normal(0.0, 1.0), &d);
        let c = Tensor::<3>::random([bt, m, n], Distribution::Normal(0.0, 1.0), &d);
        t(&format!("bmm {bt} {n}x{m}x{n}"), || {
            let _ = a.clone().matmul(c.clone());
        });
    }
    let small = Tensor::<2>::random([256, 6], Distribution::Normal(0.0, 1.0), &d);
    t("small mul", || {
        let _ = small.clone() * small.clone();
    });
    t("small sumdim", || {
        let _ = small.clone().sum_dim(1);
    });
    t("small slice", || {
        let _ = small.clone().slice([0..256, 0..3]);
    });
    let ad = Device::flex().autodiff();
    let sa = Tensor::<2>::from_data(small.to_data(), &ad).require_grad();
    t("small ad 10ops+bwd", || {
        let mut y = sa.clone();
        for _ in 0..10 {
            y = y * 2.0;
        }
        let _ = y.sum().backward();
    });
}
