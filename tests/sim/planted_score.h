// The score of planted bugs: what `membership_sim --planted` and `cluster_sim --planted` print.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace roost::sim {

struct PlantedBug {
  std::string name;
  bool caught = false;
  std::string violation;  // The first that it was caught by.
};

// The main function of `program [--json FILE]`. `run` tries the bugs; none: it has printed why the
// checkers can't be trusted. 0 if at least 95 % were caught, 1 if not, 2 for wrong usage.
int PlantedMain(int argc, char** argv, const std::string& program,
                const std::function<std::vector<PlantedBug>()>& run);

}  // namespace roost::sim
