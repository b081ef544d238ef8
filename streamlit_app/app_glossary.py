"""From the words of networks to the words of probability."""

# What papers on networks say, and what it is here.
GLOSSARY = (
    ("encoder", "the network that computes the parameters of q(z|x); neither a code nor a draw"),
    ("decoder", "the network that computes the parameters of p(x|z); its output is no image yet"),
    (
        "latent code",
        "z: a value of the latent variable. Where one code is wanted for an x, the mean of q(z|x)",
    ),
    ("bottleneck", "D, the number of values of z; what is paid for using them is the KL, in nats"),
    (
        "reconstruction",
        "the mean of p(x|z), or a draw from it: two things, which this package never mixes",
    ),
    ("reconstruction loss", "minus the mean of log p(x|z) over draws of z ~ q(z|x), in nats"),
    ("MSE", "minus log p(x|z) of a Normal with one scale, up to a factor and a constant: step 4"),
    (
        "BCE",
        "minus log p(x|z) of a Bernoulli, of values 0 and 1; of grey values it is no log density",
    ),
    ("KL loss", "KL(q(z|x) ‖ p(z)): how many nats about x z holds beyond p(z)"),
    (
        "regularisation",
        "no term is added to regularise: the KL is a part of the bound on log p(x), as p(z) is a "
        "part of the model",
    ),
    ("loss", "minus the bound, averaged over the batch"),
    ("ELBO", "the bound: the mean of log p(x|z) minus the KL; at most log p(x)"),
    (
        "reparameterisation trick",
        "a draw of z as a differentiable function of the parameters and of noise that has none: "
        "the gradient of a mean over z becomes a mean of gradients",
    ),
    (
        "beta",
        "the weight of the KL; from 1 up a bound, below 1 none. With a Normal, β σ² is one variance",
    ),
    ("KL annealing, warm-up", "β as a schedule of the optimiser's step, which should end at 1"),
    ("free bits", "nats of KL that cost nothing"),
    ("sampling", "z ~ p(z), then the mean of p(x|z), or a draw from it; say which"),
    ("temperature", "p(z) with its scale multiplied: no longer the model's p(z)"),
    (
        "noise of the output",
        "the scale of p(x|z): an assumption, fixed or learned, and never absent",
    ),
    (
        "posterior collapse",
        "q(z|x) = p(z) for all x: the KL is 0, and z holds nothing about x",
    ),
    ("active units", "dimensions of z whose mean under q(z|x) changes with x"),
    (
        "number of samples, K",
        "the draws of z ~ q(z|x) for each x; with importance weights the bound rises with K",
    ),
    ("inference", "q(z|x) in place of p(z|x), which has no closed form; the gap is their KL"),
    ("generative model", "p(x, z) = p(z) p(x|z), without q"),
    ("test loss", "the held-out bound with its standard error, in nats per example"),
)
