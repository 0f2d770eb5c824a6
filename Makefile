# make run   sets up .venv, measures grounding in both embedded worlds, prints the tables
# make test  sets up .venv, checks style and types, runs the tests
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install run test lint bench notebooks miniatures report clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,launchers]'
	touch $@

run: install
	$(BIN)/vlground experiment=photos
	$(BIN)/vlground experiment=q_groundcam_table1_shapes
	$(BIN)/vlground-report runs experiment=photos --no-page
	$(BIN)/vlground-report runs experiment=q_groundcam_table1_shapes cam=attention_gradcam

# Two processes that compute share the cores: waiting threads must not spin.
test: lint
	OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow and not gpu'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Executes the notebooks, each in an empty folder, and keeps their outputs.
notebooks: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.notebooks

# Trains the shipped miniatures again, about two hours and a half on one core; then their cards' scores.
MINIATURES := src/vlground/miniatures
miniatures: install
	$(BIN)/vlground experiment=miniature_blip task.export=$(MINIATURES)/mini_blip
	$(BIN)/vlground experiment=miniature_albef task.export=$(MINIATURES)/mini_albef
	$(BIN)/vlground experiment=miniature_albef_amc task.export=$(MINIATURES)/mini_albef_amc
	$(BIN)/vlground experiment=miniature_clip_rn task.export=$(MINIATURES)/mini_clip_rn
	$(BIN)/vlground experiment=miniature_llava task.export=$(MINIATURES)/mini_llava
	$(BIN)/vlground experiment=miniature_captioner task.export=$(MINIATURES)/mini_captioner
	for seed in 1 2; do $(BIN)/vlground experiment=miniature_captioner seed=$$seed \
		task.export=$(MINIATURES)/mini_captioner_$$seed || exit 1; done
	$(BIN)/vlground experiment=miniature_reward task.export=$(MINIATURES)/mini_reward
	$(BIN)/vlground experiment=miniature_reward task.level=caption task.export=$(MINIATURES)/mini_reward_holistic
	$(BIN)/vlground experiment=miniature_detector task.export=$(MINIATURES)/mini_owlv2
	$(BIN)/vlground experiment=miniature_classifier task.export=$(MINIATURES)/mini_classifier
	for rate in 25 50 75 95; do $(BIN)/vlground experiment=miniature_classifier_poison_$$rate \
		task.export=$(MINIATURES)/mini_classifier_poison_$$rate || exit 1; done
	$(BIN)/vlground experiment=miniature_classifier_scores
	$(BIN)/vlground experiment=miniature_layers
	$(BIN)/vlground experiment=miniature_scores
	$(BIN)/vlground experiment=miniature_scores_clip_rn
	for scores in claims pope mme; do $(BIN)/vlground experiment=miniature_captioner_$$scores || exit 1; done
	$(BIN)/python -m vlground.miniatures.cards runs

report: install
	$(BIN)/vlground-report runs

clean:
	rm -rf $(VENV) build dist
