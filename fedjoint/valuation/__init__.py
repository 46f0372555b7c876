"""What each holder's updates added to the model: the Aumann-Shapley value, in the clear and on ciphertexts."""
