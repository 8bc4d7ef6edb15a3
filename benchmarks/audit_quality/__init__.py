"""How well the audit finds wrong labels, compared with cleanlab on the same features.

A cell is one data set, kind and share of wrong labels, and seed. In each cell every method ranks
the same few shots by how likely their label is wrong. `run` measures cells, `rankings` has the
methods, `scores` the scores; `noise_robustness` has the rest.

Rankings that were tried for the audit: mean ROC-AUC with the built-in backbone over 15 kinds of
noisy cells (caltech101, clothing and eurosat, 16 shots, 25 to 75 % symmetric and 25 and 50 %
asymmetric, 3 seeds), over 10 of two data sets held out of all choices, and over 6 with 4 shots:

=================================================================  =====  ========  =======
ranked by                                                             16  held out  4 shots
=================================================================  =====  ========  =======
posterior, averaged with its mean over all optima of the ensemble   .905      .774     .892
posterior                                                           .898      .760     .880
the same, assuming equal noise in all classes                       .896      .760     .880
probability by the ensemble, without the image's own label          .896      .760     .880
mixed 3:1 with p(label) by zero-shot CLIP                           .895      .753     .873
mixed 3:1 with the labels of 10 nearest neighbours                  .891      .756     .871
mixed 3:1 with the posteriors of 10 nearest neighbours              .898      .760     .865
ranks added to half the ranks by suppression                        .888      .751     .880
mixed 7:3 with cross-validated logistic regression                  .896      .760     .878
p(label) by cross-fitted prompts, GCE                               .838      .720     .858
p(label) by cross-fitted prompts, DSPT                              .818      .701     .824
suppression                                                         .817      .696     .819
p(label) by zero-shot CLIP                                          .785      .654     .806
labels of 10 nearest neighbours                                     .789      .693     .751
cleanlab's self-confidence of logistic regression                   .799      .701     .777
=================================================================  =====  ========  =======

The audit uses the first: where labels are ambiguous, the optima that EM reaches from several starts
have different posteriors. Where all labels are correct it calls as few of them wrong (0 to 6 %).
The mixtures are with the posterior; none of them is better.
"""
