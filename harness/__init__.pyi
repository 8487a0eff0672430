from harness.challenge import STEMS as STEMS
from harness.errors import HarnessError as HarnessError
from harness.music.finding import load_evaluation_set as load_evaluation_set
from harness.results.evaluating import evaluate as evaluate
from harness.results.frames import Results as Results
from harness.results.frames import load_results as load_results
from harness.results.scoring import haaqi as haaqi
from harness.results.scoring import haaqi_batch as haaqi_batch
from harness.results.scoring import remix as remix

__version__: str
