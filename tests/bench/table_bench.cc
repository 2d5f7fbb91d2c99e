// What encryption costs: CPU per record written to a RocksTable, loaded from it and read at a
// start, with keys and without, in turn.
//
//   bazel run --config=opt //tests/bench:table_bench -- [DIR]
//
// DIR should lie in memory (/dev/shm, the default). Records hold one attribute of 1 KiB.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "membership/keyring.h"
#include "store/io/rocks_table.h"

namespace roost::store {
namespace {

constexpr int kRecords = 20'000;
constexpr int kRounds = 7;
// In one write, as with many callers at once.
constexpr int kBatch = 32;

[[noreturn]] void Die(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

// Of the whole process: RocksDB's own threads count.
double CpuUs(const std::function<void()>& work) {
  const auto now = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  const double before = now();
  work();
  return (now() - before) / kRecords;
}

SessionPtr Record(uint64_t n, uint64_t version) {
  auto session = std::make_shared<Session>();
  session->key = {(n + 1) * 0x9e3779b97f4a7c15, n};
  session->epoch = {1, membership::NodeId{1}};
  session->version = version;
  session->copy_set = {membership::NodeId{1}};
  session->absolute_deadline_ms = 1'700'086'400'000;
  session->idle_ttl_ms = 1'800'000;
  session->name_space = "bench";
  session->attributes["cart"] = {.value = std::string(1'024, 'v'), .schema = "", .version = 1};
  return session;
}

class Subject {
 public:
  Subject(std::string dir, membership::KeyringPtr keys)
      : dir_(std::move(dir)), keys_(std::move(keys)) {
    Open();
  }

  double Write(uint64_t version) {
    std::vector<SessionPtr> records;
    for (int n = 0; n < kRecords; ++n) records.push_back(Record(n, version));
    return CpuUs([&] {
      for (int n = 0; n < kRecords; n += kBatch) {
        Persist batch{.ticket = 1, .mutations = {}};
        for (int i = n; i < n + kBatch; ++i) {
          batch.mutations.push_back(PutSession{records[i], version * kRecords + i, 0, 0});
        }
        if (absl::Status status = table_->Write({&batch, 1}, {}); !status.ok()) Die(status);
      }
    });
  }

  double Load() {
    return CpuUs([&] {
      for (int n = 0; n < kRecords; ++n) {
        const auto loaded = table_->Load({(n + 1) * 0x9e3779b97f4a7c15, static_cast<uint64_t>(n)});
        if (!loaded.ok()) Die(loaded.status());
      }
    });
  }

  double Recover() {
    Open();
    return CpuUs([&] {
      const auto recovered = table_->Recover();
      if (!recovered.ok()) Die(recovered.status());
    });
  }

 private:
  void Open() {
    table_.reset();
    auto table = RocksTable::Open(dir_, "bench", Options{}, keys_);
    if (!table.ok()) Die(table.status());
    table_ = *std::move(table);
  }

  const std::string dir_;
  const membership::KeyringPtr keys_;
  std::unique_ptr<RocksTable> table_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Main(const std::string& parent) {
  std::string dir = absl::StrCat(parent, "/table_bench_XXXXXX");
  if (mkdtemp(dir.data()) == nullptr) Die(absl::InternalError("DIR can't be written"));
  {
    const auto keys = std::make_shared<const membership::Keyring>(
        *membership::Keyring::Create({membership::GossipKey::Generate()}));
    Subject plain(dir + "/plain", nullptr), encrypted(dir + "/encrypted", keys);
    std::vector<double> write[2], load[2], recover[2];
    for (int round = 0; round <= kRounds; ++round) {
      for (const bool is_encrypted : {false, true}) {
        Subject& subject = is_encrypted ? encrypted : plain;
        const double figures[] = {subject.Write(round + 1), subject.Load(), subject.Recover()};
        if (round == 0) continue;  // Warms up.
        write[is_encrypted].push_back(figures[0]);
        load[is_encrypted].push_back(figures[1]);
        recover[is_encrypted].push_back(figures[2]);
      }
    }
    std::printf("CPU us per record, median of %d rounds   plain  encrypted\n", kRounds);
    for (const auto& [name, values] :
         {std::pair("write", write), std::pair("load", load), std::pair("start", recover)}) {
      std::printf("%-40s %6.2f %10.2f\n", name, Median(values[0]), Median(values[1]));
    }
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace roost::store

int main(int argc, char** argv) {
  roost::store::Main(argc > 1 ? argv[1] : "/dev/shm");
  return 0;
}
