"""The papers' values, each with the place where it stands; the tests of the YAML files read them from here.

Lines are those of the papers' texts as this project keeps them (papers/vqd-sr.txt: V,
papers/animesr-supplement.txt: A); R is released code, where the paper is silent; S is AnimeSR's main paper,
Sec. 4, whose text is not kept. A value: (YAML files below options/, the key in them, what must stand there,
where it is said).
"""

SR1, SR2 = 'vqd_sr/net.yml', 'vqd_sr/gan.yml'
AS1, AS1_GAN, AS3 = 'animesr/step1_net.yml', 'animesr/step1_gan.yml', 'animesr/step3_gan.yml'
LBO_NET, LBO_GAN = 'animesr/step2_lbo_net.yml', 'animesr/step2_lbo_gan.yml'
TOP, FULL, STAGE, SCALE = (f'vqgan/{name}.yml' for name in ('top', 'full', 'single_stage', 'single_scale'))
TRAIN = 'datasets:train:'
# keys that end so are multiplied with the four GPUs of the papers
PER_GPU = 'batch_size_per_gpu'

VALUES = [
    # the degradation model: V 125
    ((TOP, FULL, STAGE, SCALE), TRAIN + 'crop_size', 256, 'V 125'),
    ((TOP, FULL, STAGE, SCALE), 'network_g:n_embed', 1024, 'V 125'),
    ((TOP, FULL, STAGE, SCALE), 'network_g:embed_dim', 256, 'V 125'),
    ((TOP, FULL, STAGE, SCALE), 'network_g:beta', 0.25, 'R (taming-transformers)'),
    ((TOP, FULL, STAGE, SCALE), 'network_g:beta_on', 'codebook', 'V 131, eq. 4'),
    ((TOP, FULL, STAGE, SCALE), 'train:optim_g:type', 'Adam', 'V 125'),
    ((TOP,), TRAIN + PER_GPU, 32, 'V 125'),
    ((FULL, STAGE, SCALE), TRAIN + PER_GPU, 24, 'V 125'),
    ((TOP,), 'train:optim_g:lr', 4.5e-6 * 32, 'V 125: base learning rate times batch, as in [5]'),
    ((FULL, STAGE, SCALE), 'train:optim_g:lr', 4.5e-6 * 24, 'V 125'),
    ((FULL,), 'train:lr_factors', {'top': 0.25}, 'V 125: decreased by 4 times in the second stage'),
    ((TOP, FULL, STAGE, SCALE), 'train:perceptual_opt:type', 'LPIPSLoss', 'V 125: L_per [48]'),
    ((FULL,), 'train:gan_start', 10000, 'R'),
    ((FULL,), 'train:gan_adaptive', True, 'R'),
    ((FULL,), 'train:gan_opt:gan_type', 'hinge', 'R'),
    ((FULL,), 'train:gan_opt:loss_weight', 0.8, 'R'),
    ((FULL,), 'network_d:use_bn', True, 'R (taming-transformers)'),
    ((TOP, FULL), TRAIN + 'rescale', [0.8, 2.0], 'R'),
    ((TOP, FULL), TRAIN + 'rescale_prob', 0.3, 'R'),
    ((TOP, FULL), TRAIN + 'channel_shuffle', 0.3, 'R'),
    ((TOP, FULL), TRAIN + 'rgb_shift', 20, 'R'),
    ((TOP, FULL), TRAIN + 'rgb_shift_prob', 0.3, 'R'),
    # super-resolution: V 139
    ((SR1, SR2), 'train:total_iter', 300000, 'V 139'),
    ((SR1, SR2), TRAIN + PER_GPU, 16, 'V 139'),
    ((SR1,), 'train:optim_g:lr', 1e-4, 'V 139'),
    ((SR2,), 'train:optim_g:lr', 5e-5, 'V 139'),
    ((SR2,), 'train:optim_d:lr', 5e-5, 'V 139'),
    ((SR1,), 'train:pixel_opt:type', 'L1Loss', 'V 139'),
    ((SR1, SR2), 'train:ema_decay', 0.999, 'R'),
    ((SR1,), 'train:gt_usm', dict(weight=0.3, radius=50), 'R'),
    ((SR2,), 'train:gan_opt:gan_type', 'lsgan', 'R'),
    ((SR1, SR2), TRAIN + 'num_frame', 15, 'R'),
    ((SR1, SR2), TRAIN + 'gt_size', 256, 'R'),
    ((SR1, SR2), TRAIN + 'interval', [1, 2, 3], 'R'),
    (
        (SR2,),
        'train:perceptual_opt:layer_weights',
        dict(conv1_2=0.1, conv2_2=0.1, conv3_4=1, conv4_4=1, conv5_4=1),
        'R',
    ),
    # AnimeSR, all steps
    ((AS1, AS1_GAN, AS3, LBO_NET, LBO_GAN), TRAIN + PER_GPU, 16, 'S'),
    ((AS1, AS1_GAN, AS3, LBO_NET, LBO_GAN), 'network_g:num_feat', 64, 'S'),
    ((AS1, LBO_NET), 'train:optim_g:lr', 2e-4, 'S'),
    ((AS1_GAN, AS3, LBO_GAN), 'train:optim_g:lr', 1e-4, 'S'),
    ((AS1_GAN, AS3, LBO_GAN), 'train:gan_opt:gan_type', 'lsgan', 'R'),
    ((AS1_GAN, AS3, LBO_GAN), 'train:pixel_opt:type', 'L1Loss', 'S'),
    (
        (AS1_GAN, AS3, LBO_GAN),
        'train:perceptual_opt:layer_weights',
        dict(conv1_2=0.1, conv2_2=0.1, conv3_4=1, conv4_4=1, conv5_4=1),
        'R',
    ),
    ((AS1_GAN, AS3), 'network_d:num_layers', [3, 3, 3], 'R'),
    ((LBO_GAN,), 'network_d:num_layers', [3], 'R'),
    ((AS1, AS1_GAN, AS3), 'train:total_iter', 300000, 'S'),
    ((LBO_NET, LBO_GAN), 'train:total_iter', 100000, 'S'),
    ((LBO_NET, LBO_GAN), 'scale', 2, 'S'),
    ((LBO_NET, LBO_GAN), TRAIN + 'type', 'PairedFrameDataset', 'S'),
    ((AS1, AS1_GAN, AS3), TRAIN + 'num_frame', 15, 'R'),
    ((AS1, AS1_GAN, AS3), TRAIN + 'gt_size', 256, 'R'),
    ((AS1, AS1_GAN, AS3), TRAIN + 'interval', [1, 2, 3], 'R'),
    ((AS1, AS1_GAN, AS3), 'train:ema_decay', 0.999, 'R'),
    ((AS1, AS1_GAN, AS3), 'network_g:sr_feedback', True, 'S'),
    ((AS1,), 'train:gt_usm', dict(weight=0.3, radius=50), 'R'),
    (('vqd_sr/contrast_tune.yml',), 'train:total_iter', 150000, 'R'),
    (('vqd_sr/contrast_tune.yml',), 'train:optim_g:lr', 2.5e-5, 'R'),
]

# the basic operators (A 45 to 49), as arguments of our operators
OPERATORS = [
    (
        'blur',
        dict(kernel_size=21, isotropic_prob=0.7, sigma=(0.2, 4.0), sigma_aniso=(0.8, 3.0)),
        'A 47; kernel: R',
    ),
    ('noise', dict(gray_prob=0.5, sigma=(0, 10)), 'A 48'),
    ('down', dict(factor=2, modes=('area', 'bilinear', 'bicubic')), 'A 45, 49'),
    ('down', dict(factor=2, modes=('area', 'bilinear', 'bicubic')), 'A 45, 49'),
    ('codec', dict(codec='h264', crf=(18, 35), profiles=dict(baseline=0.1, main=0.2, high=0.7)), 'A 51'),
]
# AnimeSR's third step has it in the place of both resizes
LBO = ('down_or_lbo', dict(factor=2, prob=0.5, share=True), 'A 50')
K = [1, 50]  # of VQ, V 115
